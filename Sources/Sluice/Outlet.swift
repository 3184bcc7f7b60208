import Glibc
import SluiceCore
package import SluiceNet
package import SluiceWire

/// Frames on their way to the socket: one output being sent, one being filled.
package struct Outlet {
    /// Bytes of events that may wait; what else there is comes on top.
    static let eventBytesMax = 262_144
    /// Bytes that may wait altogether: OPENs of the most links, and more answers than a broker in
    /// its right mind asks for before it reads.
    static let bytesMax = 16_777_216
    /// Vectors of one system call.
    private static let vectorsMax = 256

    /// Where new frames go.
    package var output = ClientOutput()
    private var sending = ClientOutput()
    // What is sent of `sending`: bytes of its frames, whole inserts, bytes of the insert after
    // them, and all together.
    private var sentOfFrames = 0
    private var sentInserts = 0
    private var sentOfInsert = 0
    private var sent = 0
    private var vectors: [iovec] = []

    package init() {}

    /// Bytes that wait.
    package var backlog: Int { sending.byteCount - sent + output.byteCount }

    mutating func reset() { self = Outlet() }

    /// Sends once; false if the connection takes no more.
    package mutating func send(to carrier: Carrier) throws(SystemError) -> Bool {
        if sent == sending.byteCount {
            sending.removeAll()
            (sentOfFrames, sentInserts, sentOfInsert, sent) = (0, 0, 0, 0)
            swap(&sending, &output)
        }
        let result: Descriptor.Sending
        if sending.inserts.isEmpty {
            // The span lends the bytes to a call with typed errors; the closure of an array cannot.
            result = try sending.frames.bytes.span.withUnsafeBytes {
                (bytes) throws(SystemError) in
                try carrier.send(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
            }
        } else {
            // Out of self, which lends its bytes meanwhile.
            var vectors: [iovec] = []
            swap(&vectors, &self.vectors)
            defer { swap(&vectors, &self.vectors) }
            collect(into: &vectors)
            result = try vectors.span.withUnsafeBufferPointer { (vectors) throws(SystemError) in
                try carrier.sendVectors(vectors)
            }
        }
        guard case .bytes(let count) = result else { return false }
        sent += count
        if !sending.inserts.isEmpty { advance(by: count) }
        return true
    }

    /// Points at what is not sent yet; it stays where it is until `sending` is changed.
    private func collect(into vectors: inout [iovec]) {
        vectors.removeAll(keepingCapacity: true)
        var next = sentOfFrames
        var skipped = sentOfInsert
        sending.frames.bytes.withUnsafeBytes { bytes in
            for insert in sending.inserts[sentInserts...] {
                guard vectors.count < Self.vectorsMax - 1 else { return }
                vectors.append(bytes[next..<insert.place])
                next = insert.place
                let range = insert.run.bytes.dropFirst(skipped)
                insert.run.slab.withShared(range) { vectors.append($0[...]) }
                skipped = 0
            }
            vectors.append(bytes[next...])
        }
    }

    private mutating func advance(by count: Int) {
        var left = count
        while left > 0 {
            let isLast = sentInserts == sending.inserts.count
            let end =
                isLast ? sending.frames.bytes.count : sending.inserts[sentInserts].place
            let ofFrames = min(left, end - sentOfFrames)
            sentOfFrames += ofFrames
            left -= ofFrames
            guard !isLast, left > 0 else { return }
            let ofInsert = min(left, sending.inserts[sentInserts].run.byteCount - sentOfInsert)
            sentOfInsert += ofInsert
            left -= ofInsert
            if sentOfInsert == sending.inserts[sentInserts].run.byteCount {
                sentInserts += 1
                sentOfInsert = 0
            }
        }
    }
}

extension [iovec] {
    fileprivate mutating func append(_ bytes: Slice<UnsafeRawBufferPointer>) {
        let bytes = UnsafeRawBufferPointer(rebasing: bytes)
        guard !bytes.isEmpty else { return }
        let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        append(iovec(iov_base: base, iov_len: bytes.count))
    }
}
