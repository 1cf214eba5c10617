//! Heads between HTTP/2 and HTTP/1: what is accepted in the one means the same in the other, and
//! back again.

mod message;
mod request;
mod response;

use std::collections::BTreeMap;

use super::show;
use crate::message::{Body, Fields, Known};

pub use self::{
    request::http2_request,
    response::{http2_response, http2_trailers},
};
pub(super) use self::{request::request_travels, response::response_travels};

/// What every hop must see, with the values of each name in order and cookies as one.
fn end_to_end(bytes: &[u8], fields: &Fields) -> BTreeMap<String, Vec<String>> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for field in fields.iter() {
        let hop = matches!(
            field.known,
            Known::Host
                | Known::ContentLength
                | Known::TransferEncoding
                | Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::Te
                | Known::Http2Settings
                | Known::Upgrade
        );
        if hop {
            continue;
        }
        let name = show(field.name.of(bytes)).to_ascii_lowercase();
        let value = show(field.value.of(bytes));
        let values = map.entry(name).or_default();
        match values.first_mut() {
            Some(cookie) if field.known == Known::Cookie => {
                let separator = if cookie.is_empty() || value.is_empty() {
                    ""
                } else {
                    "; "
                };
                *cookie = format!("{cookie}{separator}{value}");
            }
            _ => values.push(value),
        }
    }
    map
}

/// In the end an empty body is an empty body.
fn is_empty(body: Body) -> bool {
    matches!(body, Body::None | Body::Length(0))
}
