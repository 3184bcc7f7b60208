package import SluiceCore

// Records of runs that were received or made here: they were checked then.
extension Run {
    /// Calls `body` with the offset and the payload of each event, in one pass over the records.
    package func forEachPayload(
        _ body: (_ offset: UInt64, _ payload: RawSpan) throws -> Void
    ) rethrows {
        unsafe try slab.withShared(0..<Int(end)) { bytes in
            let span = unsafe bytes.bytes
            let end = Int(end)
            var offset = offset
            var next = Int(start)
            while next < end {
                let head: UInt32 = span.bigEndian(at: next)
                var payload = next + Record.headBytes
                next = payload + Int(head & 0xFF_FFFF)
                if head > 0xFF_FFFF {
                    payload =
                        Self.checked(at: payload - Record.headBytes, of: span).payload.lowerBound
                }
                try body(offset, span.extracting(payload..<next))
                offset &+= 1
            }
        }
    }

    /// The record that begins at `position` of the slab.
    package func record(at position: Int) -> RecordSlice {
        withSpan { Self.checked(at: position, of: $0) }
    }

    /// Where the record at `position` of the slab ends.
    package func endOfRecord(at position: Int) -> Int {
        withSpan { span in
            let head: UInt32 = span.bigEndian(at: position)
            return position + Record.headBytes + Int(head & 0xFF_FFFF)
        }
    }

    private static func checked(at position: Int, of span: RawSpan) -> RecordSlice {
        guard let record = try? RecordSlice(at: position, upTo: span.byteCount, of: span) else {
            preconditionFailure("records were checked when they came")
        }
        return record
    }
}

extension Slab {
    /// Appends a record without key and headers, which must fit.
    package func appendRecord(_ payload: RawSpan) {
        let count = payload.byteCount
        precondition(count <= Limits.eventBytesMax - Record.headBytes)
        _ = unsafe fill { buffer in
            unsafe buffer.storeBytes(of: UInt32(count).bigEndian, as: UInt32.self)
            unsafe payload.withUnsafeBytes { bytes in
                let rest = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: buffer[Record.headBytes...]
                )
                unsafe rest.copyMemory(from: bytes)
            }
            return Record.headBytes + count
        }
    }
}
