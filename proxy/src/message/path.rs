//! Path normalisation: done once, before anything is decided.
