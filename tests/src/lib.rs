//! What the end-to-end tests need: processes, back ends, clients and deadlines.
