//! Whether a certificate that came with a message may be believed.
//!
//! The message brings its signer's certificate; what is trusted is configured: a root, and the certificates between
//! it and the signer. Chains are as long as the configured ones, dates are judged by the caller's clock.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{CertificateFacts, Error, pem};

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Not a certificate at all.
    #[error("not a certificate")]
    Unreadable,
    /// Its time, or that of one above it, has not begun or is over.
    #[error("a certificate of the chain is not valid now")]
    OutOfDate,
    /// No configured certificate made it.
    #[error("no configured certificate made it")]
    UnknownIssuer,
}

/// The certificates that are trusted: at least one that made itself.
#[derive(Debug, Clone)]
pub struct Anchors {
    ders: Vec<Vec<u8>>,
}

impl Anchors {
    /// From one text or several with PEM certificates: roots and what lies between.
    ///
    /// # Errors
    /// - [`Error::NotPem`]: no certificate in a text.
    /// - [`Error::BadKey`]: one cannot be read, or is no certificate authority's.
    pub fn from_pem<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Anchors, Error> {
        let mut ders = Vec::new();
        for text in texts {
            let blocks = pem::blocks(text);
            if blocks.is_empty() {
                return Err(Error::NotPem);
            }
            for block in blocks {
                let bad = |problem: String| Error::BadKey { what: "a trusted certificate", problem };
                let (_, certificate) =
                    X509Certificate::from_der(&block.der).map_err(|e| bad(e.to_string()))?;
                if !certificate.is_ca() {
                    let subject = certificate.subject();
                    return Err(bad(format!("{subject} is not a certificate authority's")));
                }
                ders.push(block.der.clone());
            }
        }
        Ok(Anchors { ders })
    }

    /// The facts of the certificate in `pem`, if the configured ones lead from it to one that made itself, all of
    /// them valid at `now_secs` (Unix seconds).
    ///
    /// # Errors
    /// - [`Untrusted`], by what is missing.
    pub fn check(&self, pem: &str, now_secs: i64) -> Result<CertificateFacts, Untrusted> {
        let leaf = pem::first_block(pem).map_err(|_| Untrusted::Unreadable)?;
        let facts = CertificateFacts::from_pem(pem).map_err(|_| Untrusted::Unreadable)?;
        let (_, leaf) = X509Certificate::from_der(&leaf.der).map_err(|_| Untrusted::Unreadable)?;
        let anchors: Vec<X509Certificate<'_>> =
            self.ders.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
        self.climb(&leaf, &anchors, now_secs, anchors.len() + 1)?;
        Ok(facts)
    }

    fn climb(
        &self,
        at: &X509Certificate<'_>,
        anchors: &[X509Certificate<'_>],
        now_secs: i64,
        steps: usize,
    ) -> Result<(), Untrusted> {
        let valid = at.validity();
        if now_secs < valid.not_before.timestamp() || now_secs > valid.not_after.timestamp() {
            return Err(Untrusted::OutOfDate);
        }
        if at.issuer() == at.subject() && anchors.iter().any(|anchor| anchor.as_ref() == at.as_ref()) {
            return Ok(());
        }
        let mut verdict = Err(Untrusted::UnknownIssuer);
        for maker in anchors.iter().filter(|maker| steps > 0 && maker.subject() == at.issuer()) {
            if at.verify_signature(Some(maker.public_key())).is_ok() {
                verdict = self.climb(maker, anchors, now_secs, steps - 1);
                if verdict.is_ok() {
                    return verdict;
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn params(name: &str, ca: bool, until: i32) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    struct House {
        root: String,
        middle: String,
        leaf: String,
        old: String,
    }

    fn house() -> House {
        let key = || KeyPair::from_pem(&crate::generate_rsa_pem(2048).unwrap()).unwrap();
        let (root_key, middle_key, leaf_key) = (key(), key(), key());
        let root = params("root", true, 2034);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = Issuer::new(root, &root_key);
        let middle = params("middle", true, 2034);
        let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
        let middle = Issuer::new(middle, &middle_key);
        let leaf = params("leaf", false, 2034).signed_by(&leaf_key, &middle).unwrap().pem();
        let old = params("old", false, 2025).signed_by(&leaf_key, &middle).unwrap().pem();
        House { root: root_pem, middle: middle_pem, leaf, old }
    }

    #[test]
    fn a_certificate_is_believed_up_to_a_configured_root_and_only_while_it_is_valid() {
        let (ours, theirs) = (house(), house());
        let anchors = Anchors::from_pem([ours.root.as_str(), &ours.middle]).unwrap();
        assert_eq!(anchors.check(&ours.leaf, NOW).unwrap().common_name, "leaf");
        let crs = ours.leaf.replace('\n', "\r");
        assert!(anchors.check(&crs, NOW).is_ok(), "lone carriage returns");
        assert_eq!(anchors.check(&ours.old, NOW), Err(Untrusted::OutOfDate));
        assert_eq!(anchors.check(&ours.leaf, 4_102_444_800), Err(Untrusted::OutOfDate));
        assert_eq!(anchors.check(&theirs.leaf, NOW), Err(Untrusted::UnknownIssuer), "same names, other keys");
        assert_eq!(anchors.check("no certificate", NOW), Err(Untrusted::Unreadable));
        let middle_only = Anchors::from_pem([ours.middle.as_str()]).unwrap();
        assert_eq!(middle_only.check(&ours.leaf, NOW), Err(Untrusted::UnknownIssuer), "no root");
        assert!(Anchors::from_pem([ours.leaf.as_str()]).is_err(), "a leaf is no anchor");
        assert!(Anchors::from_pem([""]).is_err());
    }
}
