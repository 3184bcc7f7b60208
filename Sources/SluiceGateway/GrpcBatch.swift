package import SluiceCore
import SluiceWire

/// Runs as one message `SubscribeResponse.batch`, written straight from their records.
///
/// An object for each event, as the generated types have, would cost more than all else on the way
/// of an event. That the bytes are those of the generated types, a test says.
package struct GrpcBatch {
    /// A part of a run, and the bytes that it is.
    private struct Piece {
        let run: Run
        let bytes: Range<Int>
        let offset: UInt64
        let length: Int
    }

    private var pieces: [Piece] = []
    /// Bytes of records in it.
    package private(set) var recordBytes = 0
    package private(set) var events: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { pieces.isEmpty }

    /// Takes events of a run from `position` on, as long as there is room for them.
    ///
    /// Moves `position` and `offset` behind them; the first event is taken whatever its size is.
    package mutating func take(_ run: Run, from position: inout Int, offset: inout UInt64) {
        let first = offset
        let start = position
        var length = 0
        run.slab.withShared(0..<Int(run.end)) { bytes in
            while position < Int(run.end) {
                let head = Self.head(bytes, at: position)
                let end = position + Record.headBytes + Int(head & 0xFF_FFFF)
                guard
                    isEmpty && position == start
                        || recordBytes + end - position <= Limits.grpcBatchBytes
                else { break }
                length += Self.fieldBytes(Self.eventBytes(run, bytes, position, head))
                recordBytes += end - position
                position = end
                offset += 1
            }
        }
        guard position > start else { return }
        events += offset - first
        length += Self.numberBytes(first) + Self.numberBytes(run.time)
        length += Self.numberBytes(UInt64(run.attempt))
        pieces.append(Piece(run: run, bytes: start..<position, offset: first, length: length))
    }

    /// The message, behind its prefix.
    package func framed() -> [UInt8] {
        let batch = pieces.reduce(0) { $0 + Self.fieldBytes($1.length) }
        let message = Self.fieldBytes(batch)
        let count = GrpcFraming.prefixBytes + message
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            var pen = ProtobufPen(UnsafeMutableRawBufferPointer(buffer))
            pen.put(prefixOf: message)
            pen.put(field: 2, length: batch)
            for piece in pieces { Self.put(piece, &pen) }
            filled = pen.position
        }
    }

    private static func put(_ piece: Piece, _ pen: inout ProtobufPen) {
        pen.put(field: 1, length: piece.length)
        pen.put(field: 1, number: piece.offset)
        pen.put(field: 2, number: piece.run.time)
        pen.put(field: 3, number: UInt64(piece.run.attempt))
        piece.run.slab.withShared(0..<piece.bytes.upperBound) { bytes in
            var position = piece.bytes.lowerBound
            while position < piece.bytes.upperBound {
                let head = head(bytes, at: position)
                let end = position + Record.headBytes + Int(head & 0xFF_FFFF)
                pen.put(field: 4, length: eventBytes(piece.run, bytes, position, head))
                if head == 0 {
                    // An empty payload is not said.
                } else if head <= 0xFF_FFFF {
                    pen.put(field: 1, bytes[position + Record.headBytes..<end])
                } else {
                    put(piece.run.record(at: position), bytes, &pen)
                }
                position = end
            }
        }
    }

    private static func put(
        _ record: RecordSlice,
        _ bytes: UnsafeRawBufferPointer,
        _ pen: inout ProtobufPen
    ) {
        if !record.payload.isEmpty { pen.put(field: 1, bytes[record.payload]) }
        if let key = record.key { pen.put(field: 2, bytes[key]) }
        guard let block = record.headers else { return }
        var reader = HeaderReader(block)
        while let (name, value) = try? reader.next(from: bytes.bytes) {
            pen.put(field: 3, length: headerBytes(name, value))
            if !name.isEmpty { pen.put(field: 1, bytes[name]) }
            if !value.isEmpty { pen.put(field: 2, bytes[value]) }
        }
    }
}

// MARK: - Sizes

extension GrpcBatch {
    private static func head(_ bytes: UnsafeRawBufferPointer, at position: Int) -> UInt32 {
        UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
    }

    private static func eventBytes(
        _ run: Run,
        _ bytes: UnsafeRawBufferPointer,
        _ position: Int,
        _ head: UInt32
    ) -> Int {
        // Neither key nor headers: what most are, and the fastest.
        if head <= 0xFF_FFFF { return head == 0 ? 0 : fieldBytes(Int(head)) }
        let record = run.record(at: position)
        var length = record.payload.isEmpty ? 0 : fieldBytes(record.payload.count)
        if let key = record.key { length += fieldBytes(key.count) }
        guard let block = record.headers else { return length }
        var reader = HeaderReader(block)
        while let (name, value) = try? reader.next(from: bytes.bytes) {
            length += fieldBytes(headerBytes(name, value))
        }
        return length
    }

    private static func headerBytes(_ name: Range<Int>, _ value: Range<Int>) -> Int {
        (name.isEmpty ? 0 : fieldBytes(name.count)) + (value.isEmpty ? 0 : fieldBytes(value.count))
    }

    /// A field of so many bytes, with its tag and its length; tags here are below 16.
    private static func fieldBytes(_ length: Int) -> Int {
        1 + ProtobufPen.numberBytes(UInt64(length)) + length
    }

    /// A field that is a number, which is left out where it is 0.
    private static func numberBytes(_ number: UInt64) -> Int {
        number == 0 ? 0 : 1 + ProtobufPen.numberBytes(number)
    }
}

/// Writes the few things that messages consist of into memory that was measured before.
private struct ProtobufPen {
    private let buffer: UnsafeMutableRawBufferPointer
    private(set) var position = 0

    init(_ buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }

    static func numberBytes(_ number: UInt64) -> Int {
        number < 0x80 ? 1 : (70 - (number | 1).leadingZeroBitCount) / 7
    }

    mutating func put(prefixOf count: Int) {
        buffer[0] = 0
        buffer.storeBytes(of: UInt32(count).bigEndian, toByteOffset: 1, as: UInt32.self)
        position = GrpcFraming.prefixBytes
    }

    mutating func put(field: UInt8, number: UInt64) {
        guard number != 0 else { return }
        put(field << 3)
        put(number)
    }

    mutating func put(field: UInt8, length: Int) {
        put(field << 3 | 2)
        put(UInt64(length))
    }

    mutating func put(field: UInt8, _ bytes: Slice<UnsafeRawBufferPointer>) {
        put(field: field, length: bytes.count)
        UnsafeMutableRawBufferPointer(rebasing: buffer[position...])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes))
        position += bytes.count
    }

    private mutating func put(_ byte: UInt8) {
        buffer[position] = byte
        position += 1
    }

    private mutating func put(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            put(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        put(UInt8(truncatingIfNeeded: rest))
    }
}
