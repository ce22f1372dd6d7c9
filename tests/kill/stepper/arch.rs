//! The only code that knows the processor: a breakpoint in its debug registers.
//!
//! It is a shortcut, not a need: without it the runner single-steps all the way to each point.

/// Makes the stopped tracee `pid` trap before it executes the instruction at `address`.
///
/// False if the machine cannot do it.
#[cfg(target_arch = "x86_64")]
pub(super) fn set_breakpoint(pid: i32, address: u64) -> bool {
    const ENABLE_FIRST: u64 = 1; // DR7: local enable of DR0; its condition bits 0 mean "execute"
    write_debug_register(pid, 0, address) && write_debug_register(pid, 7, ENABLE_FIRST)
}

/// Takes the breakpoint away again.
#[cfg(target_arch = "x86_64")]
pub(super) fn clear_breakpoint(pid: i32) {
    write_debug_register(pid, 7, 0);
}

#[cfg(target_arch = "x86_64")]
fn write_debug_register(pid: i32, register: usize, value: u64) -> bool {
    let base = std::mem::offset_of!(libc::user, u_debugreg);
    let at = base + register * size_of::<u64>();
    super::tracer::ptrace(libc::PTRACE_POKEUSER.into(), pid, at, value as usize).is_ok()
}

/// Not available here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn set_breakpoint(_pid: i32, _address: u64) -> bool {
    false
}

/// Not available here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn clear_breakpoint(_pid: i32) {}
