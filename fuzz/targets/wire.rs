//! Records of the filtered topic: any bytes are read or refused, and what was read is written and read again.

#![no_main]

use clickstream_wire::{Match, PROGRESS_KEY, Progress, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode(Some(PROGRESS_KEY.as_bytes()), None, Some(data));
    let _ = decode(None, Some(data), None);
    if let Ok(progress) = Progress::decode(data) {
        assert_eq!(Progress::decode(&progress.encode()), Ok(progress.clone()));
        for part in progress.split(512) {
            assert!(Progress::decode(&part).is_ok());
        }
    }
    if let Ok(matched) = Match::decode(data) {
        let mut bytes = Vec::new();
        matched.encode(&mut bytes);
        assert_eq!(Match::decode(&bytes), Ok(matched.clone()));
    }
});
