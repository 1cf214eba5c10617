//! What no field can see by itself.
use crate::model::Config;
use crate::problem::Collected;
use crate::text::Document;
pub(crate) fn check(_config: &Config, _document: Option<&Document<'_>>, _problems: &mut Collected) {
}
