//! The storm guard: limits on logins and connects over all targets of the process.
