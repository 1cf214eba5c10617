//! What keeps a running table true: sources that change it while it serves.

pub(crate) mod dns;
