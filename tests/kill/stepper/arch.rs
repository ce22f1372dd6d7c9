//! The only code that knows the processor: its registers, and a breakpoint in its debug registers.
//!
//! These are shortcuts, not needs: without them the runner asks procfs after each step, which takes three times as
//! long, and single-steps all the way to each point.

use super::procfs::Sighting;

/// The next instruction of the stopped tracee `pid`, and the system call that it has just left.
///
/// `None` if the machine cannot tell.
#[cfg(target_arch = "x86_64")]
pub(super) fn sight(pid: i32) -> Option<Sighting> {
    // SAFETY: the registers are integers, for which zeros are valid.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    super::tracer::ptrace(libc::PTRACE_GETREGS.into(), pid, 0, &raw mut registers as usize).ok()?;
    let call = registers.orig_rax.cast_signed();
    Some(Sighting { call: (call >= 0).then_some(call), address: registers.rip })
}

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

/// Not available here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn sight(_pid: i32) -> Option<Sighting> {
    None
}
