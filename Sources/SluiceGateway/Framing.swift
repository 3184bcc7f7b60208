/// Where in a frame the bytes that came so far end, which the library does not tell.
struct Framing {
    // RFC 9113, 6.2 and 6.10.
    private static let headers: UInt8 = 1
    private static let continuation: UInt8 = 9
    private static let endHeaders: UInt8 = 4

    /// What is left of the preface, or of a frame's payload.
    private var left = 24
    private var head: [UInt8] = []
    private var isHead = false
    private var goesOn = false

    /// Whether a frame of a head, or any frame's own head, is not complete.
    var isInHead: Bool { !head.isEmpty || isHead && left > 0 || goesOn }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            if left > 0 {
                let count = min(left, rest.count)
                left -= count
                rest = rest.dropFirst(count)
                continue
            }
            head.append(rest.removeFirst())
            guard head.count == 9 else { continue }
            left = head[..<3].reduce(0) { $0 << 8 | Int($1) }
            isHead = head[3] == Self.headers || head[3] == Self.continuation
            if isHead { goesOn = head[4] & Self.endHeaders == 0 }
            head.removeAll(keepingCapacity: true)
        }
    }
}
