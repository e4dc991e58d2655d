//! Several files in one input: after four bytes of settings, each file behind its length.

/// A process' worth of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    pub settings: [u8; 4],
    /// The program first, then libraries, and last a text of lists that a user could set.
    pub files: Vec<Vec<u8>>,
}

impl Archive {
    /// Any bytes are an archive: what does not fit is cut.
    pub fn read(input: &[u8]) -> Archive {
        let Some((settings, mut rest)) = input.split_first_chunk() else { return Archive::default() };
        let mut files = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let (file, tail) = tail.split_at(tail.len().min(u32::from_le_bytes(*length) as usize));
            files.push(file.to_vec());
            rest = tail;
        }
        Archive { settings: *settings, files }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.settings.to_vec();
        for file in &self.files {
            bytes.extend((file.len() as u32).to_le_bytes());
            bytes.extend(file);
        }
        bytes
    }
}
