//! Values as bytes: postcard, and nothing besides.

use postcard::ser_flavors::Size;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a value could not be encoded: its `Serialize` failed, or it holds what postcard cannot
/// encode, such as a sequence of unknown length.
#[derive(Debug, Error)]
#[error("the value cannot be encoded")]
pub struct EncodeError(#[source] postcard::Error);

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
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Unencoded {
    /// It would be longer than the buffer.
    TooLarge { len: usize },
    /// There is no encoding.
    Failed(EncodeError),
}

/// Encodes `value` into the front of `buffer`.
pub(crate) fn encode<'b, T: Serialize>(
    value: &T,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Unencoded> {
    match postcard::to_slice(value, buffer) {
        Ok(message) => Ok(message),
        Err(postcard::Error::SerializeBufferFull) => Err(too_large(value)),
        Err(error) => Err(Unencoded::Failed(EncodeError(error))),
    }
}

#[cold]
fn too_large<T: Serialize>(value: &T) -> Unencoded {
    match postcard::serialize_with_flavor(value, Size::default()) {
        Ok(len) => Unencoded::TooLarge { len },
        Err(error) => Unencoded::Failed(EncodeError(error)),
    }
}

/// Decodes a value from all of `message`.
pub(crate) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Trailing { extra: rest.len(), len: message.len() }),
        Err(error) => Err(DecodeError::Malformed { source: error.into() }),
    }
}
