//! Values as bytes: by postcard; or as they are, if they say so ([`Pod`](crate::Pod)).

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Display};
use std::ops::Deref;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Why a value could not be encoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It holds something of this crate that does not travel this way, such as a
    /// [`Queue`](crate::Queue).
    #[error("{reason}")]
    Refused {
        /// What, and what to do.
        reason: Cow<'static, str>,
    },
    /// Its `Serialize` failed, or it holds what postcard cannot encode, such as a sequence of
    /// unknown length.
    #[error("the value cannot be encoded")]
    Unencodable(#[source] postcard::Error),
}

/// Why bytes could not be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no value of this type.
    #[error("the bytes are no value of this type")]
    Malformed {
        /// What was wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There are bytes after the value.
    #[error("{extra} of {len} bytes are left over after the value")]
    Trailing {
        /// How many are left over.
        extra: usize,
        /// How many there are.
        len: usize,
    },
    /// The value of a [`Pod`](crate::Pod) has another length.
    #[error("the message has {found} bytes, and a value {expected}")]
    Length {
        /// How many the value's type has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The value holds something of this crate that did not survive the journey.
    #[error("{reason}")]
    Refused {
        /// What, and what to do.
        reason: Cow<'static, str>,
    },
}

/// What can be put into a queue: what serde can serialize, and [`Pod`](crate::Pod). Nobody else implements
/// it.
///
/// postcard writes a value's fields and nothing about them. So a type must be read as it was written, without
/// asking the bytes what they are: enums that are `#[serde(untagged)]`, `tag`ged or have `flatten`, fields with
/// `skip_serializing_if`, and values of any type (`serde_json::Value`) are put, but are an error, or another
/// value, when they are got. Put such a value as the `String` or `Vec<u8>` that another format makes of it.
pub trait Encode {
    /// Its bytes, made in `buffer` unless they are there already.
    #[doc(hidden)]
    fn encoded<'b>(&'b self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], EncodeError>;
}

/// What can be got from a queue: what serde can deserialize without borrowing, and [`Pod`](crate::Pod).
/// Nobody else implements it.
pub trait Decode: Sized {
    /// The value of all of `message`.
    #[doc(hidden)]
    fn decoded(message: &[u8]) -> Result<Self, DecodeError>;
}

impl<T: Serialize> Encode for T {
    fn encoded<'b>(&'b self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], EncodeError> {
        let mut empty = std::mem::take(buffer);
        empty.clear();
        *buffer = encode(self, empty)?;
        Ok(buffer)
    }
}

impl<T: DeserializeOwned> Decode for T {
    fn decoded(message: &[u8]) -> Result<Self, DecodeError> {
        decode(message)
    }
}

/// Encodes `value`.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes, EncodeError> {
    encode(value, Bytes::default())
}

/// Encodes `value` behind what is in `buffer`.
fn encode<T: Serialize, B: Extend<u8>>(value: &T, buffer: B) -> Result<B, EncodeError> {
    REASON.set(None);
    postcard::to_extend(value, buffer).map_err(|error| match REASON.take() {
        Some(reason) => EncodeError::Refused { reason },
        None => EncodeError::Unencodable(error),
    })
}

/// Decodes a value from all of `message`.
pub(crate) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    REASON.set(None);
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Trailing { extra: rest.len(), len: message.len() }),
        Err(error) => Err(match REASON.take() {
            Some(reason) => DecodeError::Refused { reason },
            None => DecodeError::Malformed { source: error.into() },
        }),
    }
}

thread_local! {
    /// postcard forgets what a custom error says; this does not.
    static REASON: Cell<Option<Cow<'static, str>>> = const { Cell::new(None) };
}

/// The error of a `Serialize` or `Deserialize` of this crate, made by `custom`.
pub(crate) fn refuse<E>(
    reason: impl Into<Cow<'static, str>>,
    custom: impl FnOnce(Cow<'static, str>) -> E,
) -> E {
    let reason = reason.into();
    REASON.set(Some(reason.clone()));
    custom(reason)
}

/// Bytes as such: serde takes a `Vec<u8>` for a sequence, one byte at a time. A few need no memory besides: a
/// small task of a pool has none but what its function asks for.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Vec<u8>),
}

/// As many as make no `Bytes` larger than a `Vec`.
const SHORT: usize = 15;
const _: () = assert!(size_of::<Bytes>() == size_of::<Vec<u8>>());

impl Default for Bytes {
    fn default() -> Self {
        Self::Short { len: 0, bytes: [0; SHORT] }
    }
}

impl Extend<u8> for Bytes {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, more: I) {
        let mut more = more.into_iter();
        while let Self::Short { len, bytes } = self {
            let Some(byte) = more.next() else { return };
            match bytes.get_mut(usize::from(*len)) {
                Some(place) => {
                    *place = byte;
                    *len += 1;
                }
                None => {
                    let mut long = bytes.to_vec();
                    long.push(byte);
                    *self = Self::Long(long);
                }
            }
        }
        if let Self::Long(long) = self {
            long.extend(more);
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copied;

        impl Visitor<'_> for Copied {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                "bytes".fmt(f)
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                let mut short = [0; SHORT];
                Ok(match short.get_mut(..bytes.len()) {
                    None => Bytes::Long(bytes.to_vec()),
                    Some(start) => {
                        start.copy_from_slice(bytes);
                        Bytes::Short { len: bytes.len() as u8, bytes: short }
                    }
                })
            }
        }

        deserializer.deserialize_bytes(Copied)
    }
}
