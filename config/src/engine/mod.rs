//! From declarations to reading, schema and reference.

/// Declares configuration types. See the crate documentation.
#[macro_export]
macro_rules! model {
    ($(#[doc = $doc:literal])* pub struct $name:ident { $($(#[doc = $fdoc:literal])* $f:ident : $t:ty $(= $d:expr)? $(, in $r:expr)? ;)* } $($rest:tt)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $fdoc])* pub $f: $t,)* }
        $crate::model! { $($rest)* }
    };
    ($(#[doc = $doc:literal])* pub enum $name:ident { $($(#[doc = $fdoc:literal])* $v:ident = $s:literal ;)* } $($rest:tt)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $fdoc])* $v,)* }
        $crate::model! { $($rest)* }
    };
    ($(#[doc = $doc:literal])* pub oneof $name:ident { $($(#[doc = $fdoc:literal])* $v:ident = $s:literal : $t:ty ;)* } $($rest:tt)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[doc = $fdoc])* $v($t),)* }
        $crate::model! { $($rest)* }
    };
    () => {};
}
