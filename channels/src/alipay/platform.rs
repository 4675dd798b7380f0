//! Whose signatures count: one public key, or certificates that descend from Alipay's root (protocol section 1.5).

use std::{collections::HashMap, sync::Arc};

use keys::{Anchors, CertificateFacts, KeyFile, RsaVerifier, md5_hex, pem};
use parking_lot::RwLock;

use super::Options;
use crate::config::Faults;

/// SHA1withRSA to SHA512withRSA; the bundle of roots also has others, which are left out of its name.
const RSA_FAMILY: &str = "1.2.840.113549.1.1";
/// Alipay changes its certificate every few years.
const KNOWN_MAX: usize = 16;

/// What verifies Alipay.
pub(super) enum Platform {
    /// Key mode.
    Key(Arc<RsaVerifier>),
    /// Certificate mode.
    Certificates(Certificates),
}

/// The certificates of certificate mode.
pub(super) struct Certificates {
    /// How ours is named in requests.
    pub(super) app_cert_sn: String,
    pub(super) root_cert_sn: String,
    anchors: Anchors,
    configured: String,
    known: RwLock<HashMap<String, Arc<RsaVerifier>>>,
}

/// The verifier for a message.
pub(super) enum Found {
    This(Arc<RsaVerifier>),
    /// A certificate that has to be fetched first.
    Unknown(String),
}

fn name(facts: &CertificateFacts) -> String {
    md5_hex(format!("{}{}", facts.issuer, facts.serial_decimal).as_bytes())
}

/// The names of all roots of the RSA family, in the order of the file.
fn root_name(bundle: &str) -> String {
    let each = pem::blocks(bundle).into_iter().map(|block| pem::write_block(&block.label, &block.der));
    let facts = each.filter_map(|text| CertificateFacts::from_pem(&text).ok());
    let names = facts.filter(|f| f.signature_algorithm.starts_with(RSA_FAMILY)).map(|f| name(&f));
    names.collect::<Vec<_>>().join("_")
}

impl Platform {
    pub(super) fn open(options: &Options, faults: &mut Faults) -> Option<Platform> {
        if let Some(path) = &options.public_key {
            let pem = faults.take("public_key", KeyFile::read_public(path))?;
            return faults
                .take("public_key", RsaVerifier::from_spki_pem(&pem))
                .map(|key| Platform::Key(Arc::new(key)));
        }
        let read = |faults: &mut Faults, key: &str, path: Option<&std::path::PathBuf>| {
            path.and_then(|path| faults.take(key, KeyFile::read_certificate(path)))
        };
        let app = read(faults, "app_cert", options.app_cert.as_ref());
        let alipay = read(faults, "alipay_cert", options.alipay_cert.as_ref());
        let root = read(faults, "alipay_root_cert", options.alipay_root_cert.as_ref());
        let (app, alipay, root) = (app?, alipay?, root?);
        let app = faults.take("app_cert", CertificateFacts::from_pem(&app))?;
        let facts = faults.take("alipay_cert", CertificateFacts::from_pem(&alipay))?;
        let key = faults.take("alipay_cert", RsaVerifier::from_spki_der(&facts.spki_der))?;
        let anchors = faults.take("alipay_root_cert", Anchors::from_pem([root.as_str()]))?;
        let configured = name(&facts);
        Some(Platform::Certificates(Certificates {
            app_cert_sn: name(&app),
            root_cert_sn: root_name(&root),
            anchors,
            known: RwLock::new(HashMap::from([(configured.clone(), Arc::new(key))])),
            configured,
        }))
    }

    /// The verifier of a message that names a certificate, or none.
    pub(super) fn verifier(&self, cert_sn: Option<&str>) -> Found {
        match self {
            Platform::Key(key) => Found::This(Arc::clone(key)),
            Platform::Certificates(all) => {
                let wanted = cert_sn.unwrap_or(&all.configured);
                match all.known.read().get(wanted) {
                    Some(key) => Found::This(Arc::clone(key)),
                    None => Found::Unknown(wanted.to_owned()),
                }
            }
        }
    }

    /// Takes a certificate that was fetched, if it descends from the root and has the name it was fetched by.
    pub(super) fn learn(&self, wanted: &str, pem: &str, now_secs: i64) -> Result<(), String> {
        let Platform::Certificates(all) = self else { return Err("not in certificate mode".to_owned()) };
        let facts = all.anchors.check(pem, now_secs).map_err(|e| e.to_string())?;
        if name(&facts) != wanted {
            return Err(format!("it is {}, asked for was {wanted}", name(&facts)));
        }
        let key = RsaVerifier::from_spki_der(&facts.spki_der).map_err(|e| e.to_string())?;
        let mut known = all.known.write();
        if known.len() >= KNOWN_MAX {
            known.retain(|sn, _| *sn == all.configured);
        }
        known.insert(wanted.to_owned(), Arc::new(key));
        Ok(())
    }
}
