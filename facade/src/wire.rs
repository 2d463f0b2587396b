//! Values as bytes: postcard, and nothing besides.

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

/// Encodes `value` into `buffer`, in place of what was there.
pub(crate) fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut empty = std::mem::take(buffer);
    empty.clear();
    *buffer = postcard::to_extend(value, empty).map_err(EncodeError)?;
    Ok(())
}

/// Decodes a value from all of `message`.
pub(crate) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Trailing { extra: rest.len(), len: message.len() }),
        Err(error) => Err(DecodeError::Malformed { source: error.into() }),
    }
}
