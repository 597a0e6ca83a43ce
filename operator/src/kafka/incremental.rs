//! IncrementalAlterConfigs, which rdkafka does not wrap: its `alter_configs` replaces all settings of a topic, so that
//! those nobody named fall back to their defaults. The only `unsafe` of the operator.

#![expect(unsafe_code, reason = "rdkafka has no safe form of this request")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::client::{Client, DefaultClientContext};
use rdkafka_sys as sys;
use sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET as SET;
use sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC as TOPIC;
use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS as INCREMENTAL_ALTER_CONFIGS;
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;

use super::AdminError;

/// Something of librdkafka's that has to be given back.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(made: *mut T, give_back: unsafe extern "C" fn(*mut T)) -> Result<Self, AdminError> {
        let made = NonNull::new(made).ok_or_else(|| refused("librdkafka is out of memory"))?;
        Ok(Owned(made, give_back))
    }

    fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that belongs to this function, and is given back once.
        unsafe { (self.1)(self.as_ptr()) }
    }
}

fn refused(reason: impl Into<String>) -> AdminError {
    AdminError::Refused(reason.into())
}

/// Sets these settings of a topic, waiting for the answer up to `limit`. Blocks.
pub(super) fn alter_topic(
    client: &Client<DefaultClientContext>,
    topic: &str,
    config: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<(), AdminError> {
    let text =
        |text: &str| CString::new(text).map_err(|_| refused("a null character in a setting"));
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let kafka = client.native_ptr();
    let name = text(topic)?;
    // SAFETY: `kafka` lives as long as `client`. Every pointer below is checked for null and lives until the end of
    // this function, and strings are copied by librdkafka. What `event` points at is read before it is dropped.
    unsafe {
        let resource = Owned::new(
            sys::rd_kafka_ConfigResource_new(TOPIC, name.as_ptr()),
            sys::rd_kafka_ConfigResource_destroy,
        )?;
        for (key, value) in config {
            let (key, value) = (text(key)?, text(value)?);
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(
                resource.as_ptr(),
                key.as_ptr(),
                SET,
                value.as_ptr(),
            );
            if !error.is_null() {
                let error = Owned::new(error, sys::rd_kafka_error_destroy)?;
                return Err(refused(words(sys::rd_kafka_error_string(error.as_ptr()))));
            }
        }
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(kafka, INCREMENTAL_ALTER_CONFIGS),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let mut why = [0; 256];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.as_ptr(),
            milliseconds,
            why.as_mut_ptr(),
            why.len(),
        );
        if set != NO_ERROR {
            return Err(refused(words(why.as_ptr())));
        }
        let queue = Owned::new(sys::rd_kafka_queue_new(kafka), sys::rd_kafka_queue_destroy)?;
        let mut resources = [resource.as_ptr()];
        sys::rd_kafka_IncrementalAlterConfigs(
            kafka,
            resources.as_mut_ptr(),
            resources.len(),
            options.as_ptr(),
            queue.as_ptr(),
        );
        let event = sys::rd_kafka_queue_poll(queue.as_ptr(), milliseconds.saturating_add(1_000));
        if event.is_null() {
            return Err(AdminError::Unavailable("no answer in time".to_owned()));
        }
        let event = Owned::new(event, sys::rd_kafka_event_destroy)?;
        if sys::rd_kafka_event_error(event.as_ptr()) != NO_ERROR {
            let why = words(sys::rd_kafka_event_error_string(event.as_ptr()));
            return Err(AdminError::Unavailable(why));
        }
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event.as_ptr());
        if result.is_null() {
            return Err(refused("an answer to another request"));
        }
        let mut count = 0;
        let answers =
            sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
        for at in 0..count {
            let answer = *answers.add(at);
            if sys::rd_kafka_ConfigResource_error(answer) != NO_ERROR {
                return Err(refused(words(sys::rd_kafka_ConfigResource_error_string(
                    answer,
                ))));
            }
        }
    }
    Ok(())
}

/// # Safety
/// `text` is null or a string that ends in a null byte and is not changed meanwhile.
unsafe fn words(text: *const c_char) -> String {
    if text.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: it is not null; the rest is the caller's.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
