package import Glibc

/// What carries the bytes of a connection: a socket, or memory between two loops of this process.
package enum Carrier: Sendable {
    case socket(Descriptor)
    case memory(MemoryEnd)

    /// Names the watch of a carrier on a loop.
    package enum Watch {
        case socket(Registration)
        case memory(MemoryEnd)
    }

    package func receive(
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Descriptor.Receipt {
        switch self {
        case .socket(let descriptor): try descriptor.receive(into: buffer)
        case .memory(let end): end.receive(into: buffer)
        }
    }

    package func send(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Descriptor.Sending {
        switch self {
        case .socket(let descriptor): try descriptor.send(bytes)
        case .memory(let end): try end.send(bytes)
        }
    }

    /// Sends what the vectors point at; at most IOV_MAX (1,024) of them.
    package func sendVectors(
        _ vectors: UnsafeBufferPointer<iovec>
    ) throws(SystemError) -> Descriptor.Sending {
        switch self {
        case .socket(let descriptor): try descriptor.sendVectors(vectors)
        case .memory(let end): try end.sendVectors(vectors)
        }
    }

    /// Bytes that are taken at once for sending; 0 if that is not known.
    package var sendRoom: Int {
        switch self {
        case .socket(let descriptor): descriptor.sendRoom
        case .memory(let end): end.sendRoom
        }
    }

    /// Tells the peer that nothing more comes; reading goes on.
    package func shutdownSending() throws(SystemError) {
        switch self {
        case .socket(let descriptor): try descriptor.shutdownSending()
        case .memory(let end): end.shutdownSending()
        }
    }

    /// Closes this end; it must be deregistered from its loop.
    package func close() {
        switch self {
        case .socket(let descriptor): descriptor.close()
        case .memory(let end): end.close()
        }
    }
}

// For the loop only, as what these are made of.
extension EventLoop {
    package func register(
        _ carrier: Carrier,
        _ interest: IOInterest,
        handler: any IOHandler
    ) throws(SystemError) -> Carrier.Watch {
        switch carrier {
        case .socket(let descriptor):
            return .socket(try register(descriptor, interest, handler: handler))
        case .memory(let end):
            end.watch(on: self, interest, handler: handler)
            return .memory(end)
        }
    }

    package func update(_ watch: Carrier.Watch, _ interest: IOInterest) {
        switch watch {
        case .socket(let registration): update(registration, interest)
        case .memory(let end): end.update(interest)
        }
    }

    package func deregister(_ watch: Carrier.Watch) {
        switch watch {
        case .socket(let registration): deregister(registration)
        case .memory(let end): end.unwatch()
        }
    }
}
