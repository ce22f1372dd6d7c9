//! Relatives of a process: children, fork servers, zombies.

use super::state;

/// Returns the children of a process, of all of its threads, zombies included.
pub fn children_of(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Returns the name of a process in `/proc`.
pub fn name_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The fork servers of a process; those that have ended count no more. A child that a server has just forked has its
/// name still, but the server alone leads a group.
pub fn servers_of(pid: u32) -> Vec<u32> {
    let leads = |child: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let group = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(2)?.parse().ok());
        group == Some(child)
    };
    let is_server = |child: &u32| name_of(*child) == "crossproc-srv" && leads(*child) && is_running(*child);
    children_of(pid).into_iter().filter(is_server).collect()
}

/// Whether a process runs; a zombie does not.
pub fn is_running(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Returns the children that have ended and are not reaped.
pub fn zombies_of(pid: u32) -> Vec<u32> {
    children_of(pid).into_iter().filter(|child| state(*child) == Some('Z')).collect()
}

/// Returns the number of open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Returns the open descriptors of this process, with their targets.
pub fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.map(|entry| format!("{:?} {:?}", entry.file_name(), std::fs::read_link(entry.path()))).collect()
}

/// Returns a number of `/proc/PID/status`, in KiB if it is a size.
pub fn status_number(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Sends SIGKILL to a process.
pub fn kill(pid: u32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}
