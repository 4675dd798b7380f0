//! Key files as operators hand them over: PEM, certificates, PKCS#12, public and private keys.
#![no_main]

use keys::{Anchors, CertificateFacts, Identity, RsaSigner, RsaVerifier, Secret, pem};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Identity::open(data, &Secret::new("000000"));
    let _ = RsaVerifier::from_spki_der(data);
    let wrapped = pem::write_block("CERTIFICATE", data);
    let _ = CertificateFacts::from_pem(&wrapped);
    let _ = Anchors::from_pem([wrapped.as_str()]);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (pem::blocks(text).len(), CertificateFacts::from_pem(text).is_ok(), RsaSigner::from_pkcs8_pem(text).is_ok());
    }
});
