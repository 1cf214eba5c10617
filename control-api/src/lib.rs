//! How Outrigger is told what to do: sources of configuration. So far the file; the streaming
//! protocol and its server come here.
//!
//! A source hands out texts; reading and checking them is `outrigger_config`'s, and using them
//! the proxy's.

mod file;

pub use file::FileSource;
