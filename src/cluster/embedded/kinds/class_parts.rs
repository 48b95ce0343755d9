//! Rules that storage classes and attributes classes share.

use serde_json::Value;

use super::json::entries;
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{names, too_long};

/// Key and value bytes of all parameters together.
const PARAMETERS_MAX: usize = 256 << 10;
/// How many parameters there may be.
const PARAMETERS_COUNT_MAX: usize = 512;

/// A provisioner's or driver's name: qualified, in whatever case.
pub fn provisioner(name: &str, path: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    for wrong in names::qualified(&name.to_lowercase()) {
        errors.invalid(path, name, wrong);
    }
}

/// The parameters, of which there must be some if they are `needed`.
pub fn parameters(class: &Value, needed: bool, errors: &mut FieldErrors) {
    const PATH: &str = "parameters";
    let count = entries(class, "/parameters").count();
    if count == 0 && needed {
        errors.required(PATH, "must contain at least one key/value pair");
    }
    if count > PARAMETERS_COUNT_MAX {
        too_long(PATH, PARAMETERS_COUNT_MAX, errors);
        return;
    }
    let mut size = 0;
    for (key, value) in entries(class, "/parameters") {
        if key.is_empty() {
            errors.invalid(PATH, "", "field can not be empty.");
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > PARAMETERS_MAX {
        too_long(PATH, PARAMETERS_MAX, errors);
    }
}
