//! `rushpay sign explain`: the exact string to sign, where it differs, and the likely cause.

use std::{io::Read as _, path::Path};

use anyhow::Context as _;
use keys::{
    CertificateFacts, Identity, RsaSigner, RsaVerifier, Secret, Verifier as _, pem, serial_eq, sha256_hex,
};

use super::say;
use crate::{
    cli::{SignExplain, SignWhat},
    sign::{self, Request, View, difference, visible},
};

const CLOCK_MAX_S: i64 = 300;

pub(super) fn run(what: &SignWhat) -> anyhow::Result<bool> {
    let SignWhat::Explain(args) = what;
    let request = request(args)?;
    let view = sign::view(args.channel, &request).map_err(|problem| anyhow::anyhow!(problem))?;
    let mut out =
        format!("string to sign, {} bytes, SHA-256 {}:\n\n", view.text.len(), sha256_hex(&view.text));
    for line in view.text.split_inclusive(|byte| *byte == b'\n') {
        out.push_str(&format!("    {}\n", visible(line)));
    }
    let mut causes = causes(args, &view)?;
    let server = match &args.server_string {
        Some(path) => Some((read(path)?, false)),
        None => view.server.clone().map(|text| (text, true)),
    };
    if let Some((server, cut_off)) = server {
        match difference(&view.text, &server, cut_off) {
            Some(shown) => out.push_str(&format!("\nthe server's view differs from {shown}\n")),
            None => out.push_str("\nthe server saw the same string: the key is wrong, not the string\n"),
        }
    }
    let good = causes.first().is_some_and(|cause| cause.starts_with("signature_good"));
    out.push('\n');
    if causes.is_empty() {
        causes.push("unknown: the signature is none of the known mistakes'; give --key with the private key that signs".to_owned());
    }
    for cause in &causes {
        out.push_str(&format!("{cause}\n"));
    }
    say(&out)?;
    Ok(good && causes.len() == 1)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn request(args: &SignExplain) -> anyhow::Result<Request> {
    let mut request = match &args.dump {
        Some(path) => {
            Request::from_dump(&String::from_utf8_lossy(&read(path)?)).map_err(|e| anyhow::anyhow!(e))?
        }
        None => Request { method: "POST".to_owned(), ..Request::default() },
    };
    if let Some(method) = &args.method {
        request.method.clone_from(method);
    }
    if let Some(url) = &args.url {
        request.set_url(url);
    }
    for header in &args.header {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("--header {header:?}: expected \"Name: value\""))?;
        request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some(path) = &args.body {
        request.body = read(path)?;
    }
    if args.dump.is_none() && args.url.is_none() {
        anyhow::bail!("give the request: --dump FILE, or --url with --method, --header and --body");
    }
    Ok(request)
}

/// What the given key is able to check.
struct Key {
    verifier: Option<RsaVerifier>,
    secret: Option<Secret>,
    certificate: Option<CertificateFacts>,
}

/// Reads a private key, a public key, a certificate, a PKCS#12 file or a shared secret, whatever it is.
fn key(args: &SignExplain, causes: &mut Vec<String>) -> anyhow::Result<Key> {
    let mut key = Key { verifier: None, secret: None, certificate: None };
    if let Some(path) = &args.certificate {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        match CertificateFacts::from_pem(&text) {
            Ok(facts) => key.certificate = Some(facts),
            Err(e) => causes.push(format!("wrong_key_kind: {}: {e}", path.display())),
        }
    }
    let Some(path) = &args.key else { return Ok(key) };
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if args.channel == sign::Scheme::CampusCard {
        key.secret = Some(Secret::new(text.trim()));
        return Ok(key);
    }
    let password = Secret::new(args.password.clone().unwrap_or_default());
    match pem::first_block(&text).map(|block| block.label) {
        Ok(label) if label.contains("PRIVATE KEY") => {
            let signer = RsaSigner::from_pkcs8_pem(&text).with_context(|| format!("{}", path.display()))?;
            key.verifier = Some(signer.verifier()?);
        }
        Ok(label) if label == "CERTIFICATE" => {
            causes.push(format!(
                "wrong_key_kind: {} is a certificate; requests are signed with the private key",
                path.display()
            ));
            key.verifier = RsaVerifier::from_certificate_pem(&text).ok();
        }
        Ok(_) => {
            causes.push(format!(
                "wrong_key_kind: {} is a public key; requests are signed with the private key",
                path.display()
            ));
            key.verifier = RsaVerifier::from_spki_pem(&text).ok();
        }
        Err(_) => match Identity::open(&bytes, &password) {
            Ok(identity) => {
                key.verifier = Some(RsaVerifier::from_spki_der(&identity.certificate.spki_der)?);
                key.certificate = Some(identity.certificate);
            }
            Err(e) => {
                causes.push(format!("wrong_key_kind: {} is neither PEM nor PKCS#12: {e}", path.display()))
            }
        },
    }
    Ok(key)
}

/// Everything that may be the cause, the surest first.
fn causes(args: &SignExplain, view: &View) -> anyhow::Result<Vec<String>> {
    let mut causes = Vec::new();
    let key = key(args, &mut causes)?;
    let signature = view.signature.as_deref().unwrap_or_default();
    let fits = |text: &[u8]| match (&key.verifier, &key.secret) {
        (Some(verifier), _) => verifier.verify(text, signature).is_ok(),
        (None, Some(secret)) => keys::hmac_sha256(secret.expose().as_bytes(), text).as_slice() == signature,
        (None, None) => false,
    };
    if fits(&view.signed) {
        causes.insert(0, "signature_good: this key made this signature over this string".to_owned());
    } else if let Some(mistake) = view.mistakes.iter().find(|mistake| fits(&mistake.text)) {
        causes.insert(0, format!("{}: {}", mistake.name, mistake.advice));
        if let Some(shown) = difference(&view.signed, &mistake.text, false) {
            causes.insert(1, format!("    signed was another string; it differs from {shown}"));
        }
    } else if key.verifier.is_some() || key.secret.is_some() {
        let other = "another_key: neither the string nor a known mistake was signed with this key: it is another key's signature";
        causes.push(other.to_owned());
    }
    if let (Some(certificate), Some(verifier)) = (&key.certificate, &key.verifier) {
        let probe = RsaVerifier::from_spki_der(&certificate.spki_der)?;
        let (one, two) =
            (verifier.verify(&view.signed, signature).is_ok(), probe.verify(&view.signed, signature).is_ok());
        if one != two {
            causes.push("certificate_mismatch: key and certificate do not belong together".to_owned());
        }
    }
    if let (Some(certificate), Some(serial)) = (&key.certificate, &view.serial)
        && !serial_eq(serial, &certificate.serial_hex)
        && *serial != certificate.serial_decimal
    {
        causes.push(format!(
            "wrong_serial: the request names {serial}, the certificate is {} (decimal {})",
            certificate.serial_hex, certificate.serial_decimal
        ));
    }
    let now = args.now.unwrap_or_else(|| channels::system_clock()().secs());
    if let Some(at) = view.at.filter(|at| (now - at).abs() > CLOCK_MAX_S) {
        let off = at - now;
        causes.push(format!("clock_off: the request's time is {off} s from --now (or this machine's clock); beyond 300 s it is refused"));
    }
    causes.extend(view.remarks.iter().map(|remark| format!("{}: {}", remark.name, remark.problem)));
    Ok(causes)
}
