use crate::{
    error::{Cause, Failure},
    h1::{Asked, Limits},
    message::*,
};
use http::HeaderMap;
pub(crate) fn read_request(
    _: &http::request::Parts,
    _: bool,
    _: &Limits,
    _: &mut Vec<u8>,
    _: &mut RequestHead,
) -> Result<(), Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn write_request(
    _: &RequestView<'_>,
    _: &Edits,
    _: &[u8],
    _: &str,
) -> Result<http::Request<()>, Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn read_response(
    _: &http::response::Parts,
    _: bool,
    _: Asked,
    _: &Limits,
    _: &mut Vec<u8>,
    _: &mut ResponseHead,
) -> Result<(), Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn write_response(
    _: &ResponseView<'_>,
    _: &Edits,
) -> Result<http::Response<()>, Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn own_response(
    _: u16,
    _: &[u8],
    _: Option<usize>,
) -> Result<http::Response<()>, Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn map_trailers(_: &[u8], _: &Limits, _: bool) -> Result<Option<HeaderMap>, Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn write_trailer_lines(
    _: &HeaderMap,
    _: &Limits,
    _: &mut Vec<u8>,
    _: bool,
) -> Result<(), Failure> {
    Err(Cause::Internal.into())
}
pub(crate) fn keep_allowed_trailers(_: &mut HeaderMap, _: &Limits, _: bool) -> Result<(), Failure> {
    Ok(())
}
pub(crate) fn grpc_status(_: &HeaderMap) -> Option<u8> {
    None
}
