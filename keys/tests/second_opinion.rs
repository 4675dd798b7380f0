//! The hot path and the reference agree byte for byte, and both accept the worked vectors of the protocol page.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keys::{
    RsaSigner, RsaVerifier, Signer, Verifier, check_private_key, generate_rsa_pem, open, pem, public_key_pem,
    reference::{ReferenceSigner, ReferenceVerifier},
    sha256_hex,
};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey as _, pkcs8::DecodePrivateKey as _, pkcs8::LineEnding};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/wechat-pay-v3.json")).unwrap()
}

#[test]
fn both_bodies_sign_the_same_bytes_and_verify_each_other() {
    let pem = generate_rsa_pem(2048).unwrap();
    let public = public_key_pem(&pem).unwrap();
    let (hot, reference) =
        (RsaSigner::from_pkcs8_pem(&pem).unwrap(), ReferenceSigner::from_pem(&pem).unwrap());
    let (fast, slow) =
        (RsaVerifier::from_spki_pem(&public).unwrap(), ReferenceVerifier::from_spki_pem(&public).unwrap());
    for length in [0, 1, 63, 64, 65, 1000] {
        let message = vec![b'm'; length];
        let signature = hot.sign(&message).unwrap();
        assert_eq!(signature, reference.sign(&message).unwrap());
        let all: [&dyn Verifier; 4] = [&fast, &slow, &hot.verifier().unwrap(), &reference.verifier()];
        for verifier in all {
            assert!(verifier.verify(&message, &signature).is_ok());
            assert!(verifier.verify(b"other", &signature).is_err());
            assert!(verifier.verify(&message, &signature[1..]).is_err());
            assert!(verifier.verify(&message, b"").is_err());
        }
    }
}

#[test]
fn an_older_key_format_is_the_same_key_and_a_short_key_is_refused() {
    let pem = generate_rsa_pem(2048).unwrap();
    let older = RsaPrivateKey::from_pkcs8_pem(&pem).unwrap().to_pkcs1_pem(LineEnding::LF).unwrap();
    assert!(older.contains("BEGIN RSA PRIVATE KEY"));
    let (a, b) = (RsaSigner::from_pkcs8_pem(&pem).unwrap(), RsaSigner::from_pkcs8_pem(&older).unwrap());
    assert_eq!(a.sign(b"x").unwrap(), b.sign(b"x").unwrap());
    assert_eq!(check_private_key(&older).unwrap(), 2048);

    let short =
        RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap().to_pkcs1_pem(LineEnding::LF).unwrap();
    assert!(check_private_key(&short).unwrap_err().to_string().contains("2048"));
    assert!(generate_rsa_pem(1024).is_err());
}

#[test]
fn the_worked_signatures_verify_on_both_bodies() {
    let vectors = vectors();
    let der = STANDARD.decode(vectors["public_key_spki"].as_str().unwrap()).unwrap();
    let public = pem::write_block("PUBLIC KEY", &der);
    let (fast, slow) =
        (RsaVerifier::from_spki_pem(&public).unwrap(), ReferenceVerifier::from_spki_pem(&public).unwrap());
    for (name, vector) in vectors["vectors"].as_object().unwrap() {
        let message = vector["message"].as_str().unwrap().as_bytes();
        assert_eq!(sha256_hex(message), vector["sha256"].as_str().unwrap(), "{name}");
        let signature = STANDARD.decode(vector["signature"].as_str().unwrap()).unwrap();
        assert!(fast.verify(message, &signature).is_ok(), "{name}");
        assert!(slow.verify(message, &signature).is_ok(), "{name}");
        assert!(fast.verify(&message[1..], &signature).is_err(), "{name}");
    }
}

#[test]
fn the_worked_callback_opens_to_its_cleartext() {
    let vectors = vectors();
    let key: [u8; 32] = vectors["apiv3_key"].as_str().unwrap().as_bytes().try_into().unwrap();
    let callback = &vectors["vectors"]["W5"];
    let body: Value = serde_json::from_str(callback["body"].as_str().unwrap()).unwrap();
    let sealed = STANDARD.decode(body["resource"]["ciphertext"].as_str().unwrap()).unwrap();
    let clear = open(&key, b"sandboxnonce", b"transaction", &sealed).unwrap();
    assert_eq!(clear, callback["cleartext"].as_str().unwrap().as_bytes());
    assert_eq!(sha256_hex(&clear), "32715d145c0560461f20a861714bc500b86965b592d586883e98f8ef0c553cc6");
}
