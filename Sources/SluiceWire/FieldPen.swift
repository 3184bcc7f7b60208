/// Writes fields in order, big-endian, into room that was made for exactly them.
///
/// The counterpart of `FieldReader`: each store is checked against the end of the room.
@safe
struct FieldPen {
    private var place: UnsafeMutableRawPointer
    private let end: UnsafeMutableRawPointer

    init(filling room: UnsafeMutableRawBufferPointer) {
        guard let start = room.baseAddress else { preconditionFailure("there is no room") }
        unsafe place = start
        unsafe end = start + room.count
    }

    var isAtEnd: Bool { unsafe place == end }

    @inline(__always)
    mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        let size = MemoryLayout<Value>.size
        precondition(unsafe end - place >= size, "a field lies within the room made for it")
        unsafe place.storeBytes(of: value.bigEndian, as: Value.self)
        unsafe place += size
    }

    @inline(__always)
    mutating func put(_ header: FrameHeader) {
        put(UInt32(header.length) << 8 | UInt32(header.type))
        put(header.flags)
        put(header.link)
    }

    @inline(__always)
    mutating func put(_ run: RunHeader) {
        put(run.count)
        put(run.length)
        put(run.offset)
        put(run.time)
        put(run.attempt)
        put(UInt16(0))
    }

    @inline(__always)
    mutating func put(_ settlement: Settlement) {
        put(settlement.from)
        put(settlement.count)
        put(settlement.outcome.rawValue)
        put(settlement.argument)
    }
}
