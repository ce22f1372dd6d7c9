//! What the figures were measured on, and how far to trust them.

use crate::foreign;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::process::Command;

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: Vec<usize>,
    pub hypervisor: bool,
    pub memory_mib: u64,
    pub kernel: String,
    pub governor: String,
    pub transparent_hugepages: String,
    pub rustc: String,
    /// Of this library and the peers.
    pub versions: BTreeMap<String, String>,
    /// When the run began.
    pub load: f64,
    /// Whether this process goes before others, as under `chrt -f 1`.
    pub realtime: bool,
}

impl Machine {
    pub fn this() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let load = read("/proc/loadavg");
        Machine {
            cpu: field(&cpuinfo, "model name"),
            cores: crate::process::cores().to_vec(),
            hypervisor: field(&cpuinfo, "flags").split(' ').any(|flag| flag == "hypervisor"),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            transparent_hugepages: read("/sys/kernel/mm/transparent_hugepage/enabled"),
            rustc: rustc(),
            versions: versions(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN),
            realtime: crate::process::is_realtime(),
        }
    }

    /// A reason to doubt absolute figures.
    pub fn doubt(&self) -> Option<String> {
        let busy = self.load > 0.5 && !self.realtime;
        busy.then(|| {
            let load = self.load;
            format!("the machine is busy (load {load:.2}): two processes at once are hardly measured; try `chrt -f 1`")
        })
    }
}

fn read(path: &str) -> String {
    read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.unwrap_or("unknown").trim().into()
}

fn rustc() -> String {
    let output = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("-V").output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// From the lock file that this program was built with, of the C library, and of other languages' peers.
fn versions() -> BTreeMap<String, String> {
    const LOCKED: &str = include_str!("../../../Cargo.lock");
    const NAMES: [&str; 12] = [
        "crossbeam-channel",
        "crossproc",
        "iceoryx2",
        "interprocess",
        "ipc-channel",
        "ipmpsc",
        "parking_lot",
        "procspawn",
        "raw_sync",
        "rayon",
        "rtrb",
        "shared_memory",
    ];
    // The newest one, where a peer needs an older one of the same.
    let version = |name: &str| {
        let start = LOCKED.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some((name.to_string(), start.split_once('"')?.0.to_string()))
    };
    let mut versions: BTreeMap<_, _> = NAMES.into_iter().filter_map(version).collect();
    versions.extend(foreign::python_versions().unwrap_or_default());
    let others = [("boost", foreign::boost_version()), ("redis", foreign::redis_version())];
    versions.extend(others.into_iter().filter_map(|(name, version)| Some((name.to_string(), version.ok()?))));
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: a static C string.
        let libc = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        versions.insert("glibc".into(), libc.to_string_lossy().into_owned());
    }
    versions
}
