//! The few facts of an X.509 certificate that a channel needs.
//!
//! No chain is built and no date is judged here: a channel names the certificate it signs with, and its
//! adapter decides which certificates it trusts and when.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{Error, pem};

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The serial as upper-case hex, two digits a byte, without the sign byte that DER may put in front.
    pub serial_hex: String,
    /// The serial as a decimal number, however long.
    pub serial_decimal: String,
    /// The common name of whom it was made for; empty without one.
    pub common_name: String,
    /// Who made it, as RFC 4514 writes names: last part first.
    pub issuer: String,
    /// The algorithm of its own signature, as an object identifier.
    pub signature_algorithm: String,
    /// Valid from, Unix seconds.
    pub not_before_secs: i64,
    /// Valid until, Unix seconds.
    pub not_after_secs: i64,
    /// The public key, SubjectPublicKeyInfo in DER.
    pub spki_der: Vec<u8>,
}

impl CertificateFacts {
    /// Reads the first certificate in `text`.
    ///
    /// # Errors
    /// - [`Error::NotPem`], [`Error::WrongPem`], [`Error::BadKey`]: by what is wrong with the text.
    pub fn from_pem(text: &str) -> Result<CertificateFacts, Error> {
        let block = pem::first_block(text)?;
        if block.label != "CERTIFICATE" {
            return Err(Error::WrongPem { expected: "a certificate", found: block.label });
        }
        let (_, certificate) = X509Certificate::from_der(&block.der)
            .map_err(|e| Error::BadKey { what: "the certificate", problem: e.to_string() })?;
        let serial: Vec<u8> =
            certificate.raw_serial().iter().copied().skip_while(|&byte| byte == 0).collect();
        let validity = certificate.validity();
        let common_name = certificate.subject().iter_common_name().next();
        let issuer: Vec<String> = certificate.issuer().iter_attributes().map(attribute).collect();
        Ok(CertificateFacts {
            serial_hex: hex::encode_upper(serial),
            serial_decimal: certificate.serial.to_string(),
            common_name: common_name.and_then(|cn| cn.as_str().ok()).unwrap_or_default().to_owned(),
            issuer: issuer.into_iter().rev().collect::<Vec<_>>().join(","),
            signature_algorithm: certificate.signature_algorithm.algorithm.to_id_string(),
            not_before_secs: validity.not_before.timestamp(),
            not_after_secs: validity.not_after.timestamp(),
            spki_der: certificate.public_key().raw.to_vec(),
        })
    }
}

/// `CN=...`, with the short names that certificates usually bear.
fn attribute(part: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    let oid = part.attr_type();
    let registry = x509_parser::objects::oid_registry();
    let name =
        x509_parser::objects::oid2abbrev(oid, registry).map_or_else(|_| oid.to_id_string(), str::to_owned);
    format!("{name}={}", part.as_str().unwrap_or_default())
}

/// Whether two serials in hex are the same number: case and leading zeros differ between tools.
/// Texts that are not hex are equal to nothing.
#[must_use]
pub fn serial_eq(a: &str, b: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_hexdigit());
    hex(a) && hex(b) && a.trim_start_matches('0').eq_ignore_ascii_case(b.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    use super::*;

    fn certificate(serial: &[u8]) -> (String, KeyPair) {
        let pem = crate::generate_rsa_pem(2048).unwrap();
        let key = KeyPair::from_pem(&pem).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        (params.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn a_serial_with_its_highest_bit_set_reads_without_the_sign_byte_and_a_small_one_keeps_its_zero_digit() {
        let (pem, key) = certificate(&[0xCA, 0xFE]);
        let facts = CertificateFacts::from_pem(&pem).unwrap();
        assert_eq!(facts.serial_hex, "CAFE");
        assert!(facts.not_before_secs < facts.not_after_secs);
        let public = crate::pem::first_block(&crate::public_key_pem(&key.serialize_pem()).unwrap()).unwrap();
        assert_eq!(facts.spki_der, public.der);
        assert_eq!(CertificateFacts::from_pem(&certificate(&[0x0A, 0x01]).0).unwrap().serial_hex, "0A01");
    }

    #[test]
    fn serials_compare_as_numbers() {
        assert!(serial_eq("0A01", "a01"));
        assert!(serial_eq("00000a01", "0A01"));
        assert!(!serial_eq("0A01", "0A010"));
        assert!(!serial_eq("PUB_KEY_ID_01", "PUB_KEY_ID_01"));
        assert!(!serial_eq("", ""));
    }

    #[test]
    fn a_public_key_is_not_a_certificate() {
        let pem = crate::pem::write_block("PUBLIC KEY", b"x");
        assert!(matches!(CertificateFacts::from_pem(&pem), Err(Error::WrongPem { .. })));
        let pem = crate::pem::write_block("CERTIFICATE", b"x");
        assert!(matches!(CertificateFacts::from_pem(&pem), Err(Error::BadKey { .. })));
    }
}
