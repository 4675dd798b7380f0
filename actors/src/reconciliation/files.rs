//! Bill files on disk, each under the SHA-256 of its bytes: the same file is kept once, and a kept file never changes.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::WorkError;

#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Files {
        Files { folder }
    }

    /// The hash of a file anywhere.
    pub(super) fn hash(path: &Path) -> Result<String, WorkError> {
        let read = File::open(path).and_then(keys::sha256_hex_of);
        read.map_err(problem("cannot read", path))
    }

    /// Keeps bytes; returns their hash.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<String, WorkError> {
        let hash = keys::sha256_hex(bytes);
        self.put(&hash, |file| file.write_all(bytes))?;
        Ok(hash)
    }

    /// Keeps a copy of a file whose hash is known.
    pub(super) fn copy(&self, from: &Path, hash: &str) -> Result<(), WorkError> {
        let mut source = File::open(from).map_err(problem("cannot read", from))?;
        self.put(hash, |file| io::copy(&mut source, file).map(drop))
    }

    /// Opens a kept file.
    pub(super) fn open(&self, hash: &str) -> Result<File, WorkError> {
        let path = self.path(hash);
        File::open(&path).map_err(problem("cannot read the kept bill", &path))
    }

    /// The size of a kept file.
    pub(super) fn bytes(&self, hash: &str) -> i64 {
        fs::metadata(self.path(hash)).map_or(0, |m| i64::try_from(m.len()).unwrap_or(i64::MAX))
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.bill"))
    }

    /// Under its name only once it is whole and on the disk: a crash leaves a temporary file and no half bill.
    fn put(&self, hash: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), WorkError> {
        let path = self.path(hash);
        if path.exists() {
            return Ok(());
        }
        let temporary = self.folder.join(format!("{hash}.{}.part", std::process::id()));
        let put = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&temporary)?;
            write(&mut file)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        put().map_err(problem("cannot keep the bill as", &path))
    }
}

fn problem(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorkError {
    let what = format!("{what} {}", path.display());
    move |source| WorkError::File { what, source }
}
