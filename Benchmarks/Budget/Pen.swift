import SluiceCore
import SluiceWire

/// Writes numbers of frames in place, so that a client's own codec does not count.
struct Pen {
    private var place: UnsafeMutableRawPointer

    init(at place: UnsafeMutableRawPointer) { self.place = place }

    @inline(__always)
    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        place.storeBytes(of: value.bigEndian, as: Value.self)
        place += MemoryLayout<Value>.size
    }

    mutating func put(header length: Int, _ type: FrameType, link: UInt32, flags: UInt8 = 0) {
        put(UInt32(length) << 8 | UInt32(type.rawValue))
        put(flags)
        put(link)
    }

    /// What stands before the records of an EVENTS of one run.
    mutating func put(events count: Int, bytes: Int, first: UInt64, link: UInt32) {
        put(header: 36 + bytes, .events, link: link)
        put(first)
        put(UInt32(count))
        put(UInt32(bytes))
        put(UInt64(0))
        put(UInt64(0))
        put(UInt32(0))
    }

    static let eventsHeadBytes = 45
    static let demandBytes = 41
    static let statusBytes = 94

    mutating func put(demand count: UInt32, total: UInt64, received: UInt64, link: UInt32) {
        put(header: 32, .demand, link: link)
        put(count)
        put(total)
        put(UInt32(0))
        put(UInt64(0))
        put(received)
    }

    mutating func put(_ status: Status, link: UInt32) {
        let flags: UInt8 = status.isDrained ? 1 : 0
        put(header: 85, .status, link: link, flags: flags)
        put(status.asked)
        put(status.delivered)
        put(status.forfeited)
        put(status.askedBytes)
        put(status.deliveredBytes)
        put(status.forfeitedBytes)
        put(status.stoppedTo)
        put(status.drainedTo)
        put(status.available)
        put(status.unsettled)
        put(status.oldestMilliseconds)
        put(status.blockedBy.rawValue)
        put(status.needBytes)
    }
}

extension UnsafeRawPointer {
    func number<Value: FixedWidthInteger>(at offset: Int, as type: Value.Type) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension FrameWriter {
    /// Appends a record that keeps within the limits.
    mutating func appendLegal(
        key: [UInt8]? = nil,
        headers: [RecordHeader] = [],
        payload: [UInt8]
    ) {
        do throws(WireError) {
            try append(key, headers, payload)
        } catch { preconditionFailure("the record is legal") }
    }

    private mutating func append(
        _ key: [UInt8]?,
        _ headers: [RecordHeader],
        _ payload: [UInt8]
    ) throws(WireError) {
        try appendRecord(key: key, headers: headers, payload: payload.span.bytes)
    }
}
