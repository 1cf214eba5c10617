pub(crate) fn reference() -> String {
    String::new()
}
