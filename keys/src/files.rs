//! Key files: read once at start, and refused with a sentence that says what to do.
//!
//! A private key or secret that everybody on the machine can reach is refused before its content is read.
//! Every error names the path; none shows the content.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use crate::{CertificateFacts, Error, RsaVerifier, Secret, check_private_key};

/// Reads key files; holds nothing.
#[derive(Debug, Clone, Copy)]
pub struct KeyFile;

impl KeyFile {
    /// A private RSA key in PEM, checked by arithmetic, at least 2048 bits.
    ///
    /// # Errors
    /// - [`Error::Unreadable`]: missing, a directory, or not ours to read.
    /// - [`Error::TooOpen`]: any permission for others is set.
    /// - [`Error::File`]: not PEM, another kind of PEM, or not a usable key.
    pub fn read_private(path: &Path) -> Result<Secret, Error> {
        let text = read(path, true)?;
        check_private_key(&text).map_err(|source| in_file(path, source))?;
        Ok(Secret::new(text))
    }

    /// A private file that is not text, such as a PKCS#12 file. Its content is not looked at.
    ///
    /// # Errors
    /// - [`Error::Unreadable`], [`Error::TooOpen`]: as [`KeyFile::read_private`].
    pub fn read_private_bytes(path: &Path) -> Result<Vec<u8>, Error> {
        read_bytes(path, true)
    }

    /// Writes a private key to a file that must not exist, closed to everybody else.
    ///
    /// # Errors
    /// - [`Error::Unwritable`]: it exists, or cannot be written.
    pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(unwritable)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)
    }

    /// A secret on one line (such as the APIv3 key), without the white space around it.
    ///
    /// # Errors
    /// As [`KeyFile::read_private`]; an empty file is [`Error::File`].
    pub fn read_secret(path: &Path) -> Result<Secret, Error> {
        let text = read(path, true)?;
        match text.trim() {
            "" => Err(in_file(
                path,
                Error::BadKey { what: "the secret", problem: "the file is empty".to_owned() },
            )),
            secret => Ok(Secret::new(secret)),
        }
    }

    /// A public RSA key in PEM (`PUBLIC KEY`). Its permissions do not matter.
    ///
    /// # Errors
    /// - [`Error::Unreadable`]: missing, a directory, or not ours to read.
    /// - [`Error::File`]: not PEM, another kind of PEM, or not a usable key.
    pub fn read_public(path: &Path) -> Result<String, Error> {
        let text = read(path, false)?;
        RsaVerifier::from_spki_pem(&text).map_err(|source| in_file(path, source))?;
        Ok(text)
    }

    /// An X.509 certificate in PEM. Its permissions do not matter.
    ///
    /// # Errors
    /// As [`KeyFile::read_public`].
    pub fn read_certificate(path: &Path) -> Result<String, Error> {
        let text = read(path, false)?;
        CertificateFacts::from_pem(&text).map_err(|source| in_file(path, source))?;
        Ok(text)
    }
}

fn in_file(path: &Path, source: Error) -> Error {
    Error::File { path: path.to_owned(), source: Box::new(source) }
}

fn read(path: &Path, private: bool) -> Result<String, Error> {
    // DER files and password stores are not text: say "not PEM" instead of complaining about UTF-8.
    String::from_utf8(read_bytes(path, private)?).map_err(|_| in_file(path, Error::NotPem))
}

fn read_bytes(path: &Path, private: bool) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    if private {
        refuse_open_to_all(path, &file)?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Looks at the opened file, not at the path again: what was checked is what is read.
#[cfg(unix)]
fn refuse_open_to_all(path: &Path, file: &File) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = file.metadata().map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o007 != 0 {
        return Err(Error::TooOpen { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open_to_all(_path: &Path, _file: &File) -> Result<(), Error> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use tempfile::TempDir;

    use super::*;

    #[allow(clippy::unwrap_used, reason = "a test helper")]
    fn file(dir: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_private_key_file_is_refused_with_its_path_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let pem = crate::generate_rsa_pem(2048).unwrap();
        let public = crate::public_key_pem(&pem).unwrap();
        let table = [
            (dir.path().join("missing.pem"), "cannot read"),
            (dir.path().to_owned(), "cannot read"),
            (file(&dir, "open.pem", &pem, 0o644), "chmod 600"),
            (file(&dir, "writable.pem", &pem, 0o602), "chmod 600"),
            (file(&dir, "text.pem", "hello", 0o600), "not PEM"),
            (file(&dir, "public.pem", &public, 0o600), "expected a private key"),
            (
                file(&dir, "locked.pem", &crate::pem::write_block("ENCRYPTED PRIVATE KEY", b"x"), 0o600),
                "ENCRYPTED",
            ),
            (
                file(&dir, "broken.pem", &crate::pem::write_block("PRIVATE KEY", b"x"), 0o600),
                "cannot be used",
            ),
        ];
        for (path, words) in table {
            let message = KeyFile::read_private(&path).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
        assert_eq!(KeyFile::read_private(&file(&dir, "good.pem", &pem, 0o600)).unwrap().expose(), pem);
        assert!(KeyFile::read_private(&file(&dir, "group.pem", &pem, 0o640)).is_ok());
    }

    #[test]
    fn a_public_key_file_may_be_open_but_must_be_a_public_key() {
        let dir = tempfile::tempdir().unwrap();
        let pem = crate::generate_rsa_pem(2048).unwrap();
        let public = crate::public_key_pem(&pem).unwrap();
        assert_eq!(KeyFile::read_public(&file(&dir, "public.pem", &public, 0o644)).unwrap(), public);
        let message = KeyFile::read_public(&file(&dir, "private.pem", &pem, 0o644)).unwrap_err().to_string();
        assert!(message.contains("expected a public key") && message.contains("private.pem"), "{message}");
        assert!(!message.contains(pem.lines().nth(1).unwrap()), "an error shows nothing of the key");
    }

    #[test]
    fn a_secret_file_is_trimmed_and_must_be_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(KeyFile::read_secret(&file(&dir, "s", " word \n", 0o600)).unwrap().expose(), "word");
        assert!(matches!(KeyFile::read_secret(&file(&dir, "o", "word", 0o604)), Err(Error::TooOpen { .. })));
        assert!(matches!(KeyFile::read_secret(&file(&dir, "e", "\n", 0o600)), Err(Error::File { .. })));
    }
}
