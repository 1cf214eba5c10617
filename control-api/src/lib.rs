//! How Outrigger is told what to do: sources of configuration. So far the file; the streaming
//! protocol and its server come here.
