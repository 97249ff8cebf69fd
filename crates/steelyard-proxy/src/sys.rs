//! The few calls to the system that no safe crate offers. All unsafe code of the engine's own side lives here.

/// Ends the process at once: no exit handlers, no destructors. For when the interpreter is stuck and would never
/// come round to ending it.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any integer, touches no memory of this process and does not return.
    unsafe { libc::_exit(status) }
}

/// Takes a signal away from whoever handled it before (Python's own handlers, which could only run once the
/// interpreter is free), so that what is registered next is called alone.
pub fn forget_handler(signal: i32) {
    // SAFETY: the default disposition is no function of ours, so nothing can be called that is not safe in a
    // handler; an unknown signal is refused with an error, which changes nothing.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
}
