//! The signature floor: what signing and verifying cost on this machine, now.

use keys::{RsaSigner, Signer as _, Verifier as _, generate_rsa_pem};

const ROUNDS: u32 = 400;

/// CPU time of one operation.
pub(super) struct Floor {
    pub(super) sign_us: f64,
    pub(super) verify_us: f64,
}

pub(super) fn measure() -> anyhow::Result<Floor> {
    let signer = RsaSigner::from_pkcs8_pem(&generate_rsa_pem(2048)?)?;
    let verifier = signer.verifier()?;
    let message = [b'x'; 330]; // about a prepay's string to sign
    let signature = signer.sign(&message)?;
    let sign_us = mean(|| signer.sign(&message).map(drop).map_err(Into::into))?;
    let verify_us = mean(|| verifier.verify(&message, &signature).map_err(Into::into))?;
    Ok(Floor { sign_us, verify_us })
}

fn mean(work: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    for _ in 0..ROUNDS / 10 {
        work()?; // warms caches
    }
    let before = loadtest::process::this_thread_cpu_us();
    for _ in 0..ROUNDS {
        work()?;
    }
    let spent = loadtest::process::this_thread_cpu_us().saturating_sub(before);
    Ok(f64::from(u32::try_from(spent).unwrap_or(u32::MAX)) / f64::from(ROUNDS))
}
