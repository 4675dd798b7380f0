//! The disk that the service writes to, which can be full.
//!
//! As root it is a small file system in memory, and a ballast file takes all that is left of it; it shares its room
//! with the service's log, as disks do. Without root, the service may not write any file beyond its first bytes
//! (RLIMIT_FSIZE), which is harsher: even room that it has cannot be used. The file system goes with this value.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Resource, Rlimit, prlimit},
};

use crate::cli::DiskKind;

/// A start without room still gets to say why it ended.
const WRITABLE_BYTES: u64 = 4_096;
/// What a store takes before its first order, and a log.
const BASE_KIB: u64 = 64 * 1_024;
/// What an order takes at most, with its share of the write-ahead log.
const KIB_PER_ORDER: u64 = 48;

pub(super) enum Disk {
    /// Never full.
    Plain(PathBuf),
    /// A file system of its own.
    Small(Small),
    /// Full by decree.
    Limited(PathBuf),
}

/// A mounted file system, unmounted when it is dropped.
pub(super) struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever still has a file open on it keeps that until it ends.
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("rushpay: {} is still mounted: {error}", self.0.display());
        }
    }
}

impl Disk {
    /// A disk for so many orders in a folder of its own.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be mounted where that was asked for.
    pub(super) fn new(dir: &Path, orders: u32, kind: Option<DiskKind>) -> anyhow::Result<Disk> {
        let path = dir.join("disk");
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let Some(kind) = kind else { return Ok(Disk::Plain(path)) };
        if kind == DiskKind::Limit {
            return Ok(Disk::Limited(path));
        }
        let size = std::ffi::CString::new(format!("size={}k", BASE_KIB + KIB_PER_ORDER * u64::from(orders)))?;
        match mount("rushpay-chaos", &path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, size.as_c_str())
        {
            Ok(()) => Ok(Disk::Small(Small(path))),
            Err(_) if kind == DiskKind::Auto => Ok(Disk::Limited(path)),
            Err(error) => Err(error).with_context(|| format!("cannot mount a tmpfs at {}", path.display())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Disk::Plain(path) | Disk::Limited(path) | Disk::Small(Small(path)) => path,
        }
    }

    pub(super) fn in_words(&self) -> &'static str {
        match self {
            Disk::Plain(_) => "plain",
            Disk::Small(_) => "a small file system in memory, filled by a ballast file",
            Disk::Limited(_) => "file sizes limited (RLIMIT_FSIZE), since nothing can be mounted here",
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        matches!(self, Disk::Limited(_))
    }

    /// Takes all room. A service that was started since is told with `pid`.
    pub(super) fn fill(&self, pid: Option<Pid>) -> anyhow::Result<()> {
        match self {
            Disk::Plain(_) => Ok(()),
            Disk::Small(Small(path)) => ballast(&path.join(BALLAST)),
            Disk::Limited(_) => limit(pid, Some(WRITABLE_BYTES)),
        }
    }

    /// Gives the room back.
    pub(super) fn free(&self, pid: Option<Pid>) -> anyhow::Result<()> {
        match self {
            Disk::Plain(_) => Ok(()),
            Disk::Small(Small(path)) => {
                std::fs::remove_file(path.join(BALLAST)).context("removing the ballast file")
            }
            Disk::Limited(_) => limit(pid, None),
        }
    }

    /// Copies what a person wants to look at to a folder that stays.
    pub(super) fn keep(&self, dir: &Path) -> anyhow::Result<()> {
        for name in ["rushpay.db", "rushpay.db-wal", "service.log"] {
            let from = self.path().join(name);
            if from.exists() {
                std::fs::copy(&from, dir.join(name))
                    .with_context(|| format!("keeping {}", from.display()))?;
            }
        }
        Ok(())
    }
}

const BALLAST: &str = "ballast";

fn ballast(path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    // Ever smaller pieces, until not a page is left.
    for piece in [1 << 20, 1 << 12] {
        let piece = vec![0_u8; piece];
        loop {
            match file.write(&piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).with_context(|| format!("filling {}", path.display())),
            }
        }
    }
    Ok(())
}

/// Limits the size of files that a process may write to; `None` lifts the limit. A process that is gone is no error:
/// the next one is limited when it starts.
fn limit(pid: Option<Pid>, bytes: Option<u64>) -> anyhow::Result<()> {
    let Some(pid) = pid else { return Ok(()) };
    let hard = rustix::process::getrlimit(Resource::Fsize).maximum;
    match prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(hard), maximum: hard }) {
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("limiting the service's file sizes"),
    }
}
