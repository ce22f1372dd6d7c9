//! Is the memory there? Asked before a memfd is allocated.
//!
//! A memfd that is too large does not fail: its pages are charged one by one, and when the machine
//! or the memory cgroup runs out, the OOM killer ends a process, often not the one that asked. So
//! the size is compared first with what the machine has available and with what is left below the
//! limits of the process's memory cgroup and of its ancestors, in cgroup v1 and v2.
//!
//! The answer is a forecast: others may take the memory in the meantime. It keeps 5 % in reserve,
//! and whatever cannot be read or understood is not a limit. Swap is not counted as memory.

use crate::SegmentError;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// Refuses `bytes` with [`SegmentError::NoSpace`] if taking them would end in the OOM killer.
pub(crate) fn check(bytes: u64) -> Result<(), SegmentError> {
    if fits(bytes, mounts(), &read) { Ok(()) } else { Err(SegmentError::NoSpace) }
}

/// A hybrid system mounts both, and only which files exist shows where the memory controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// The files of the limit and of the usage, and the key in `memory.stat` of the cache: without
    /// `total_`, v1 leaves out the descendants, which its usage includes.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.max", "memory.current", "inactive_file"),
        }
    }
}

/// A mounted cgroup hierarchy that may have the memory controller.
#[derive(Debug, PartialEq)]
pub(crate) struct Mount {
    version: Version,
    /// The cgroup that is seen at `point`: in a container often not the hierarchy's own root.
    root: String,
    point: PathBuf,
}

impl Mount {
    /// The directories that can limit the process, its own first, up to the mount point.
    fn levels(&self, cgroups: &str) -> Vec<PathBuf> {
        let below = parse_cgroup(cgroups, self.version).and_then(|path| below(&self.root, path));
        let Some(below) = below else {
            return Vec::new();
        };
        let own = self.point.join(below.trim_start_matches('/'));
        let depth = below.split('/').filter(|name| !matches!(*name, "" | ".")).count();
        own.ancestors().take(depth + 1).map(PathBuf::from).collect()
    }
}

/// Lossy, because one odd name in a file must not hide all its other lines.
fn read(path: &Path) -> Option<String> {
    let lossy = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
    fs::read(path).ok().map(|text| String::from_utf8(text).unwrap_or_else(lossy))
}

/// Kept, because mounts hardly ever change and the file can be long. A failed read is not kept:
/// lack of a descriptor at the first call must not switch the check off for good.
fn mounts() -> &'static [Mount] {
    static MOUNTS: crate::sys::RaceOnce<Vec<Mount>> = crate::sys::RaceOnce::new();
    if let Some(mounts) = MOUNTS.get() {
        return mounts;
    }
    match read(Path::new("/proc/self/mountinfo")) {
        Some(text) => MOUNTS.keep(parse_mounts(&text)),
        None => &[],
    }
}

/// The whole decision; files come from `read` so that tests can play any machine.
fn fits(bytes: u64, mounts: &[Mount], read: &dyn Fn(&Path) -> Option<String>) -> bool {
    let meminfo = read(Path::new("/proc/meminfo"));
    if meminfo.and_then(|text| parse_available(&text)).is_some_and(|room| bytes > usable(room)) {
        return false;
    }
    // Read anew each time: a process can be moved to another cgroup.
    let Some(cgroups) = read(Path::new("/proc/self/cgroup")) else {
        return true;
    };
    mounts.iter().all(|mount| {
        let fits = |dir: &PathBuf| fits_level(bytes, mount.version, &|name| read(&dir.join(name)));
        mount.levels(&cgroups).iter().all(fits)
    })
}

/// One cgroup. Its statistics are read only if they can change the answer: the kernel has to sum
/// them up over all processors, which takes longer than everything else here.
fn fits_level(bytes: u64, version: Version, read: &dyn Fn(&str) -> Option<String>) -> bool {
    let (limit, usage, cache) = version.names();
    let number = |name| read(name).and_then(|text| parse_limit(&text));
    let Some(limit) = number(limit) else {
        return true;
    };
    let Some(usage) = number(usage) else {
        return true;
    };
    if bytes <= usable(limit.saturating_sub(usage)) {
        return true;
    }
    // File cache counts as usage, but the kernel drops it before it kills. Pages of memfds and of
    // tmpfs are never among the inactive file pages, so memory that is really taken stays counted.
    let cache = read("memory.stat").and_then(|text| parse_stat(&text, cache)).unwrap_or(0);
    bytes <= usable(limit.saturating_sub(usage.saturating_sub(cache)))
}

/// Leaves 5 % for the page tables, for the kernel's own charges and for the next pages of all processes.
fn usable(room: u64) -> u64 {
    room - room / 20
}

/// `MemAvailable` of `/proc/meminfo` in bytes; kernels before 3.14 have none.
pub(crate) fn parse_available(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// A limit or a usage. `max` is no number, and v1 writes "no limit" as almost `i64::MAX`, rounded
/// down to the page size of the machine.
pub(crate) fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < 1 << 62)
}

/// One value of `memory.stat`.
pub(crate) fn parse_stat(stat: &str, key: &str) -> Option<u64> {
    let value = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// The process's path in `/proc/self/cgroup`; the path itself may contain colons.
pub(crate) fn parse_cgroup(cgroups: &str, version: Version) -> Option<&str> {
    cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match version {
            Version::V1 => controllers.split(',').any(|name| name == "memory"),
            Version::V2 => id == "0" && controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// The cgroup mounts of `/proc/self/mountinfo`, one for each part of a hierarchy: a host with many
/// chroots shows the same one many times, and asking it again tells nothing new.
pub(crate) fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        let Some(point) = line.split(' ').nth(4).map(unescape) else {
            continue;
        };
        // What is mounted on the same directory later hides what was there.
        mounts.retain(|mount| mount.point != Path::new(&point));
        mounts.extend(parse_mount(line));
    }
    mounts.sort_by(|a, b| (a.version, &a.root).cmp(&(b.version, &b.root)));
    mounts.dedup_by(|b, a| (a.version, &a.root) == (b.version, &b.root));
    mounts
}

fn parse_mount(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(3);
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    // Any number of optional fields ends with a lone dash.
    fields.find(|&field| field == "-")?;
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    let version = match kind {
        "cgroup" if options.split(',').any(|option| option == "memory") => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    Some(Mount { version, root, point: point.into() })
}

/// systemd's names (`a\x2db.slice`) have backslashes, which only mountinfo escapes. The backslash
/// itself comes last, or what it brings back would be taken for another escape.
fn unescape(field: &str) -> String {
    let field = field.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\012", "\n");
    field.replace(r"\134", r"\")
}

/// Where `path` lies below the mounted `root`; `None` if the mount does not show it.
///
/// Both count from the root of the cgroup namespace. A mount made outside of the namespace has a
/// root like `/../..`: it is an ancestor, but the names in between are unknown, so only the mount
/// point itself can be asked. A rest with `..` would lead out of the mount.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let ups = |path: &str| path.split('/').filter(|&name| name == "..").count();
    let rest = path.strip_prefix(root.trim_end_matches('/'));
    let inside = |rest: &&str| (rest.is_empty() || rest.starts_with('/')) && ups(rest) == 0;
    let ancestor = root.len() == ups(root) * "/..".len() && ups(root) > ups(path);
    rest.filter(inside).or(ancestor.then_some(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "35 31 0:32 / /cg/memory rw shared:9 master:1 - cgroup cgroup rw,memory\n";
    const V2: &str = "41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
    const CPU: &str = "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n";

    /// Whether so many MiB fit on a machine of 1000 MiB with these files; the numbers of the cgroup
    /// files are MiB too.
    fn fits_on(mib: u64, mountinfo: &str, cgroup: &str, files: &[(&str, u64)]) -> bool {
        let read = |path: &Path| match path.to_str()? {
            "/proc/meminfo" => Some("MemFree: 7 kB\nMemAvailable:  1024000 kB\n".to_string()),
            "/proc/self/cgroup" => Some(cgroup.to_string()),
            path => {
                let (_, mib) = files.iter().find(|file| path == format!("/cg/{}", file.0))?;
                let bytes = mib << 20;
                let stat = format!("inactive_file {bytes}\ntotal_inactive_file {bytes}\n");
                Some(if path.ends_with("stat") { stat } else { format!("{bytes}\n") })
            }
        };
        fits(mib << 20, &parse_mounts(mountinfo), &read)
    }

    #[test]
    fn machine_and_nonsense() {
        assert!(fits_on(950, "", "", &[]) && !fits_on(951, "", "", &[]));
        let nonsense = "\n\n1\n1 2 3 / /x rw -\n1 2 3 / /x rw - cgroup2\n\u{fffd} \\ \\1 / \\\n";
        assert_eq!(parse_mounts(nonsense), []);
        assert!(fits_on(950, V2, ":::\n0:\n\n0::", &[]));
        assert_eq!(parse_available("MemAvailable: -1 kB\nMemAvailable:"), None);
        assert_eq!(parse_available(&format!("MemAvailable: {} kB", u64::MAX)), Some(u64::MAX));
        for text in ["max\n", "", "-1", "9223372036854771712\n", "99999999999999999999"] {
            assert_eq!(parse_limit(text), None);
        }
        assert_eq!(parse_limit("0\n"), Some(0));
        assert_eq!(parse_stat("inactive_file_x 1\ninactive_file 2\n", "inactive_file"), Some(2));
    }

    #[test]
    fn v1_ancestors_and_cache() {
        let group = "5:cpu:/other\n4:cpuset,memory:/a/b:c\n0::/\n";
        let (limit, usage) = ("memory/a/memory.limit_in_bytes", "memory/a/memory.usage_in_bytes");
        let full = [(limit, 100), (usage, 80)];
        assert!(fits_on(19, V1, group, &full) && !fits_on(20, V1, group, &full));
        let cached = [(limit, 100), (usage, 80), ("memory/a/memory.stat", 60)];
        assert!(fits_on(76, V1, group, &cached) && !fits_on(77, V1, group, &cached));
        assert!(fits_on(77, V1, group, &[(limit, 100)]), "no usage, no limit");
        assert_eq!(parse_cgroup(group, Version::V1), Some("/a/b:c"));
    }

    #[test]
    fn v2_and_hybrid() {
        let group = "4:memory:/m\n1:cpu:/\n0::/u\n";
        let hybrid = [CPU, V1, V2].concat();
        let v2 = [("unified/u/memory.max", 10), ("unified/u/memory.current", 20)];
        assert!(!fits_on(1, V2, "0::/u\n", &v2) && fits_on(0, V2, "0::/u\n", &v2));
        assert!(!fits_on(1, &hybrid, group, &v2), "more used than allowed");
        let v1 = [("memory/m/memory.limit_in_bytes", 9), ("memory/m/memory.usage_in_bytes", 0)];
        assert!(!fits_on(9, &hybrid, group, &v1) && fits_on(8, &hybrid, group, &v1));
        assert!(fits_on(9, V2, group, &v1), "not mounted");
    }

    #[test]
    fn container_with_a_mount_root() {
        let mount = r"1 2 0:3 /d\134x2d/c /cg/a\040b ro - cgroup2 c rw";
        let files = [("a b/memory.max", 10), ("a b/memory.current", 0)];
        assert!(!fits_on(10, mount, r"0::/d\x2d/c/sub", &files));
        assert!(!fits_on(10, mount, r"0::/d\x2d/c", &files));
        assert!(fits_on(10, mount, r"0::/d\x2d/cc", &files), "another container");
        let hidden = format!("{mount}\n9 1 0:9 / /cg/a\\040b rw - tmpfs t rw\n");
        assert!(fits_on(10, &hidden, r"0::/d\x2d/c", &files));
        assert_eq!(parse_mounts(&[V2, V2, &V2.replace("/cg", "/h/cg")].concat()).len(), 1);
    }

    #[test]
    fn namespace_roots() {
        assert_eq!((below("/", "/"), below("/", "/a")), (Some("/"), Some("/a")));
        assert_eq!((below("/..", "/"), below("/..", "/../a")), (Some(""), Some("/a")));
        assert_eq!((below("/../..", "/../a"), below("/..", "/../../a")), (Some(""), None));
        assert_eq!((below("/", "/../a"), below("/../x", "/"), below("/a", "/")), (None, None, None));
    }
}
