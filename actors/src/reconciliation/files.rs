//! Bill files, each under the SHA-256 of its bytes: the same file is kept once, and a kept file never changes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Cursor, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use channels::BillSource;

use super::WorkError;

/// Keeps bills in memory, for a house that lives on one thread under a paused clock. Clones share what is kept.
#[derive(Debug, Clone, Default)]
pub struct BillMemory(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl BillMemory {
    fn kept(&self, hash: &str) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Files {
    Folder(PathBuf),
    Memory(BillMemory),
}

impl Files {
    pub(super) fn new(folder: PathBuf, memory: Option<BillMemory>) -> Files {
        memory.map_or(Files::Folder(folder), Files::Memory)
    }

    /// True if a file may be read on the calling thread: it waits for no disk.
    pub(super) const fn at_hand(&self) -> bool {
        matches!(self, Files::Memory(_))
    }

    /// The hash of a file anywhere.
    pub(super) fn hash(path: &Path) -> Result<String, WorkError> {
        let read = File::open(path).and_then(keys::sha256_hex_of);
        read.map_err(problem("cannot read", path))
    }

    /// Keeps bytes; returns their hash.
    pub(super) fn keep(&self, bytes: &Bytes) -> Result<String, WorkError> {
        let hash = keys::sha256_hex(bytes);
        match self {
            Files::Folder(folder) => put(folder, &hash, |file| file.write_all(bytes))?,
            Files::Memory(memory) => {
                let mut kept = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
                kept.entry(hash.clone()).or_insert_with(|| bytes.clone());
            }
        }
        Ok(hash)
    }

    /// Keeps a copy of a file whose hash is known.
    pub(super) fn copy(&self, from: &Path, hash: &str) -> Result<(), WorkError> {
        match self {
            Files::Folder(folder) => {
                let mut source = File::open(from).map_err(problem("cannot read", from))?;
                put(folder, hash, |file| io::copy(&mut source, file).map(drop))
            }
            Files::Memory(_) => {
                let bytes = fs::read(from).map_err(problem("cannot read", from))?;
                self.keep(&Bytes::from(bytes)).map(drop)
            }
        }
    }

    /// Opens a kept file.
    pub(super) fn open(&self, hash: &str) -> Result<Box<dyn BillSource>, WorkError> {
        match self {
            Files::Folder(folder) => {
                let path = path(folder, hash);
                let file = File::open(&path).map_err(problem("cannot read the kept bill", &path))?;
                Ok(Box::new(file))
            }
            Files::Memory(memory) => {
                let kept = memory.kept(hash).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
                let bytes = kept.map_err(problem("cannot read the kept bill", Path::new(hash)))?;
                Ok(Box::new(Cursor::new(bytes)))
            }
        }
    }

    /// The size of a kept file.
    pub(super) fn bytes(&self, hash: &str) -> i64 {
        match self {
            Files::Folder(folder) => {
                fs::metadata(path(folder, hash)).map_or(0, |m| i64::try_from(m.len()).unwrap_or(i64::MAX))
            }
            Files::Memory(memory) => {
                memory.kept(hash).map_or(0, |kept| i64::try_from(kept.len()).unwrap_or(i64::MAX))
            }
        }
    }
}

fn path(folder: &Path, hash: &str) -> PathBuf {
    folder.join(format!("{hash}.bill"))
}

/// Under its name only once it is whole and on the disk: a crash leaves a temporary file and no half bill.
fn put(folder: &Path, hash: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), WorkError> {
    let path = path(folder, hash);
    if path.exists() {
        return Ok(());
    }
    let temporary = folder.join(format!("{hash}.{}.part", std::process::id()));
    let put = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(problem("cannot keep the bill as", &path))
}

fn problem(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorkError {
    let what = format!("{what} {}", path.display());
    move |source| WorkError::File { what, source }
}
