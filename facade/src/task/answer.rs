//! What tasks return.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::hash::{BuildHasher, Hash};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a task returns: a [`Value`], or a `Result` whose error can be displayed.
///
/// The text of an error travels, the error itself does not: so it need not be `Serialize`.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    note = "add `impl shmq::Value for {Self} {{}}`, or return it in a `Result`"
)]
pub trait Answer {
    /// What it is if all went well.
    type Value: Serialize + DeserializeOwned;

    /// The value, or the error's text.
    ///
    /// # Errors
    /// The text.
    fn into_value(self) -> Result<Self::Value, String>;
}

/// A value that a task returns as it is.
///
/// The usual types of std are such. For a type of your own, implement `Serialize` and `Deserialize`,
/// and say `impl shmq::Value for Mine {}`. (A `Result` must not be one, or nobody could tell which
/// of the two ways it is meant; hence the list.)
pub trait Value: Serialize + DeserializeOwned {}

impl<V: Value> Answer for V {
    type Value = V;

    fn into_value(self) -> Result<V, String> {
        Ok(self)
    }
}

impl<V: Serialize + DeserializeOwned, E: Display> Answer for Result<V, E> {
    type Value = V;

    fn into_value(self) -> Result<V, String> {
        // The alternate form has the whole chain of causes, for errors that know it.
        self.map_err(|error| format!("{error:#}"))
    }
}

macro_rules! values {
    ($($value:ty)*) => { $(impl Value for $value {})* };
}

values!(() bool char String PathBuf Duration SystemTime);
values!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

impl<T: Serialize + DeserializeOwned> Value for Box<T> {}
impl<T: Serialize + DeserializeOwned> Value for Option<T> {}
impl<T: Serialize + DeserializeOwned> Value for Vec<T> {}
impl<T: Serialize + DeserializeOwned> Value for VecDeque<T> {}
impl<T: Serialize + DeserializeOwned + Ord> Value for BTreeSet<T> {}

impl<K, V> Value for BTreeMap<K, V>
where
    K: Serialize + DeserializeOwned + Ord,
    V: Serialize + DeserializeOwned,
{
}

impl<T, S> Value for HashSet<T, S>
where
    T: Serialize + DeserializeOwned + Hash + Eq,
    S: BuildHasher + Default,
{
}

impl<K, V, S> Value for HashMap<K, V, S>
where
    K: Serialize + DeserializeOwned + Hash + Eq,
    V: Serialize + DeserializeOwned,
    S: BuildHasher + Default,
{
}

macro_rules! tuples {
    ($($item:ident)*) => {
        impl<$($item: Serialize + DeserializeOwned),*> Value for ($($item,)*) {}
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
