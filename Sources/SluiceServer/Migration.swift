import Logging
import SluiceCore
import SluiceEngine
import SluiceNet

/// A connection on its way to another shard: all that it is, in one message.
///
/// Only one shard has it at a time; it has no links, so nothing else holds on to its parts.
final class Traveller: @unchecked Sendable {
    let carrier: Carrier
    let peer: ClientPeer
    /// What was read and not understood.
    let unread: [UInt8]
    let acceptedAt: UInt64
    let receivedAt: UInt64
    let sentAt: UInt64

    init(
        carrier: Carrier,
        peer: ClientPeer,
        unread: [UInt8],
        acceptedAt: UInt64,
        receivedAt: UInt64,
        sentAt: UInt64
    ) {
        self.carrier = carrier
        self.peer = peer
        self.unread = unread
        self.acceptedAt = acceptedAt
        self.receivedAt = receivedAt
        self.sentAt = sentAt
    }
}

extension Shard {
    /// Sends a connection on to the shard where its client's topics are.
    func send(_ traveller: Traveller, to shard: Int, from connection: Connection) {
        vacate(connection)
        let isSent = house.submit(to: shard) { @Sendable [house] shard in
            guard let shard else {
                Self.lose(traveller, house)
                return
            }
            shard.take(traveller)
        }
        if !isSent { Self.lose(traveller, house) }
    }

    private static func lose(_ traveller: Traveller, _ house: House) {
        traveller.carrier.close()
        house.leave()
    }

    private func take(_ traveller: Traveller) {
        engine.bookMemory(Limits.memoryConnectionBytes)
        let slot = takeSlot()
        let connection = Connection(traveller, slot: slot, shard: self)
        connections[slot] = connection
        do {
            try connection.arrive(with: traveller.unread)
        } catch {
            logger.warning("connection not taken over", metadata: ["reason": "\(error)"])
            connection.close()
            return
        }
        guard drainDeadline != nil, connections[slot] === connection else { return }
        if isLeaving || !connection.peer.isGreeted {
            connection.peer.sayFarewell()
        } else {
            connection.peer.sayGoingAway()
        }
    }

    /// Hands to the other shards what this turn has for them, each in one message.
    func sendPost() {
        engine.sendPost { other, messages in
            house.submit(to: other) { @Sendable [index] shard in
                shard?.engine.receive(messages, from: index)
            }
        }
        guard !held.isEmpty, !engine.isCongested else { return }
        let waiting = held
        held = []
        for connection in waiting { connection.letGo() }
    }
}
