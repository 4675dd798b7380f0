//! Calls on disk: one file each, named by time, whole or not there at all.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::error;

const ENDING: &str = "call";

/// A call as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    #[serde(with = "hex::serde")]
    pub body: Vec<u8>,
}

/// No room, or a disk that takes nothing.
#[derive(Debug)]
pub(crate) struct Full;

/// The folder.
pub(crate) struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    bytes: AtomicU64,
    calls: AtomicU64,
}

impl Spool {
    /// Opens the folder, or makes it, closed to others: calls hold what payers paid.
    pub(crate) fn open(dir: &Path, max_bytes: u64) -> anyhow::Result<Spool> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(dir, mode)
                .with_context(|| format!("cannot close {} to others", dir.display()))?;
        }
        let spool =
            Spool { dir: dir.to_owned(), max_bytes, bytes: AtomicU64::new(0), calls: AtomicU64::new(0) };
        for path in spool.paths().with_context(|| format!("cannot read {}", dir.display()))? {
            let size = fs::metadata(&path).map_or(0, |m| m.len());
            spool.bytes.fetch_add(size, Ordering::Relaxed);
            spool.calls.fetch_add(1, Ordering::Relaxed);
        }
        Ok(spool)
    }

    fn paths(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut all: Vec<PathBuf> = fs::read_dir(&self.dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == ENDING))
            .collect();
        all.sort();
        Ok(all)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Writes a call durably.
    pub(crate) fn keep(&self, call: &Call) -> Result<(), Full> {
        let text = serde_json::to_vec(call).map_err(|_| Full)?;
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if self.bytes.load(Ordering::Relaxed).saturating_add(size) > self.max_bytes {
            return Err(Full);
        }
        // Names begin with the time: the order of names is the order of arrival.
        let name = self.dir.join(uuid::Uuid::now_v7().to_string());
        let written = File::create(name.with_extension("new")).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(name.with_extension("new"), name.with_extension(ENDING))?;
            File::open(&self.dir)?.sync_all()
        });
        written.map_err(|problem| {
            error!(%problem, dir = %self.dir.display(), "the spool cannot be written");
            Full
        })?;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The call that waits longest. A file that is no call is put aside, and named in the log.
    pub(crate) fn oldest(&self) -> anyhow::Result<Option<(PathBuf, Call)>> {
        if self.len() == 0 {
            return Ok(None);
        }
        for path in self.paths().with_context(|| format!("cannot read {}", self.dir.display()))? {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            match serde_json::from_slice(&text) {
                Ok(call) => return Ok(Some((path, call))),
                Err(problem) => {
                    error!(%problem, path = %path.display(), "not a call; put aside as .bad");
                    fs::rename(&path, path.with_extension("bad"))?;
                    self.calls.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        Ok(None)
    }

    /// Forgets a call that was delivered.
    pub(crate) fn remove(&self, path: &Path) -> std::io::Result<()> {
        let size = fs::metadata(path).map_or(0, |m| m.len());
        fs::remove_file(path)?;
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        self.calls.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: u8) -> Call {
        let headers = vec![("wechatpay-nonce".to_owned(), "n".to_owned())];
        Call {
            method: "POST".to_owned(),
            target: "/notify/wechat".to_owned(),
            headers,
            body: vec![n, 0xff, b'\n'],
        }
    }

    #[test]
    fn calls_come_back_in_their_order_over_a_restart_and_never_beyond_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 260).unwrap();
        assert!(spool.keep(&call(1)).is_ok() && spool.keep(&call(2)).is_ok());
        assert!(spool.keep(&call(3)).is_err(), "the spool has its limit");
        fs::write(dir.path().join("0.call"), "half a ca").unwrap();
        let again = Spool::open(dir.path(), 260).unwrap();
        for n in [1, 2] {
            let (path, found) = again.oldest().unwrap().unwrap();
            assert_eq!(found, call(n));
            again.remove(&path).unwrap();
        }
        assert_eq!((again.oldest().unwrap(), again.len()), (None, 0));
        assert!(dir.path().join("0.bad").exists());
    }
}
