//! Rows of kinds of which nothing but the metadata matters: who owns them, in
//! which namespace they are, whether they are going.

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row, Sharing};

macro_rules! bare {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            pub meta: Meta,
        }

        impl Row for $name {
            const KIND: &'static Kind = kind::$kind;
            const ONLY_FOR_HOSTED: bool = true;

            fn from_object(object: &Value) -> Result<Self, Malformed> {
                Ok(Self { meta: row::meta(Self::KIND, object)? })
            }

            fn meta(&self) -> &Meta {
                &self.meta
            }

            fn share(&mut self, with: &mut dyn Sharing) {
                row::share_meta(&mut self.meta, with);
            }
        }
    )*};
}

bare! {
    /// The row of a ConfigMap.
    ConfigMap = CONFIG_MAP;
    /// The row of a Secret; what it holds stays at the server.
    Secret = SECRET;
    /// The row of a ServiceAccount.
    ServiceAccount = SERVICE_ACCOUNT;
}
