//! What about the log's file, or the disk under it, may lose history.

use super::file;
use super::reader::CHUNK_BYTES_MAX;
use anyhow::Context;
use refold_domain::log::Risk;
use rusqlite::Connection;
use std::fs;
use std::path::Path;

/// Up to this size in bytes the whole file is checked; of a larger one, both ends of each partition.
const WHOLE_CHECK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How many of a partition's newest records are read where the whole file is not.
const SAMPLE_RECORDS: u64 = 1_000;

/// File systems that forget everything when the machine stops.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems of other machines, where SQLite's shared memory does not reach and locks may not hold.
const REMOTE: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"];

/// All that was found.
pub(super) fn risks(connection: &Connection, path: &Path, partitions: u32) -> anyhow::Result<Vec<Risk>> {
    let bytes = fs::metadata(path).context("cannot look at it")?.len();
    let damage = match bytes <= WHOLE_CHECK_BYTES_MAX {
        // Nobody has made it yet, or somebody has emptied it; which of the two, the file cannot tell.
        _ if file::is_new(connection).is_ok_and(|is_new| is_new) => Ok(Vec::new()),
        true => whole_file(connection),
        false => both_ends(connection, partitions),
    };
    let damage = damage.unwrap_or_else(|error| vec![format!("it cannot be read: {error}")]);
    let mut risks: Vec<_> = damage.into_iter().map(|found| lost(path, &found)).collect();
    risks.extend(more_partitions(connection, partitions).map(|found| wrong_number(path, found, partitions)));
    // Elsewhere than on Linux there is no such list.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    risks.extend(file_system(&mounts, &path.canonicalize()?));
    Ok(risks)
}

fn lost(path: &Path, found: &str) -> Risk {
    let found = format!("{}: {found}", path.display());
    Risk { fatal: true, found, remedy: "restore the log from a backup".into() }
}

fn whole_file(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let state: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if state != "ok" {
        return Ok(vec![format!("it is damaged: {state}")]);
    }
    let sql =
        "SELECT partition FROM records GROUP BY partition HAVING min(offset) > 0 OR max(offset) >= count(*)";
    let mut select = connection.prepare(sql)?;
    let holes = select.query_map([], |row| row.get(0).map(hole))?;
    holes.collect()
}

/// Reading is a check, too: SQLite refuses what it cannot make sense of.
fn both_ends(connection: &Connection, partitions: u32) -> rusqlite::Result<Vec<String>> {
    let mut holes = Vec::new();
    for partition in 0..partitions {
        let span = file::span(connection, partition)?;
        file::chunk(connection, partition, span.next.saturating_sub(SAMPLE_RECORDS), CHUNK_BYTES_MAX)?;
        holes.extend((span.first > 0).then(|| hole(partition)));
    }
    Ok(holes)
}

fn hole(partition: u32) -> String {
    format!("records of partition {partition} are missing")
}

/// How many partitions the file has, where it has more than the log was opened with.
fn more_partitions(connection: &Connection, partitions: u32) -> Option<u32> {
    file::partitions(connection).ok().filter(|found| *found > partitions)
}

fn wrong_number(path: &Path, found: u32, partitions: u32) -> Risk {
    let text = format!("{} has {found} partitions, not {partitions}", path.display());
    Risk { fatal: true, found: text, remedy: format!("set the number of partitions to {found}") }
}

fn file_system(mounts: &str, path: &Path) -> Option<Risk> {
    let kind = mounted(mounts, path)?;
    let danger = match kind {
        volatile if VOLATILE.contains(&volatile) => "is gone when the machine stops",
        remote if REMOTE.contains(&remote) => "is on another machine, where SQLite cannot keep its promises",
        _ => return None,
    };
    let found = format!("{} lies on {kind}: it {danger}", path.display());
    Some(Risk { fatal: false, found, remedy: "move data_dir to a local disk".into() })
}

/// The kind of the file system that holds `path`: of the mounts above it the longest, of equal ones the last.
fn mounted<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?.replace("\\040", " "), fields.next()?);
        path.starts_with(&point).then_some((point.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /tmp/disk xfs rw 0 0
server:/x /mnt/far\\040away nfs4 rw 0 0
";

    #[test]
    fn finds_the_file_system_of_a_path() {
        let kind = |path| mounted(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(kind("/var/lib/log.sqlite"), "ext4");
        assert_eq!(kind("/tmp/log.sqlite"), "tmpfs");
        assert_eq!(kind("/tmp/disk/log.sqlite"), "xfs");
        assert_eq!(kind("/tmpdisk/log.sqlite"), "ext4");
        assert_eq!(kind("/mnt/far away/log.sqlite"), "nfs4");
        assert_eq!(mounted("", Path::new("/x")), None);
    }

    #[test]
    fn warns_where_a_disk_forgets() {
        assert_eq!(file_system(MOUNTS, Path::new("/var/log.sqlite")), None);
        let risk = file_system(MOUNTS, Path::new("/tmp/log.sqlite")).unwrap();
        assert!(!risk.fatal && risk.found.contains("tmpfs"), "{risk:?}");
    }
}
