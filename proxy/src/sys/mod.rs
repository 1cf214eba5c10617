//! What the operating system offers and no safe crate covers: the only unsafe code.
//!
//! One operation a block, each with the reason why it is sound, each with a test. What can be
//! read from `/proc` and cgroup files is read from there, safely.

pub(crate) mod cgroup;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod readable;
pub(crate) mod sockopt;
