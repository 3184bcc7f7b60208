// What a topic allows of its links, its groups and each event.

/// The limits of a topic beside its buffer.
package struct TopicLimits: Hashable, Sendable {
    /// Links of producers and of consumers; those count too that wait for their client to come
    /// back.
    package var producers = UInt32.max
    package var consumers = UInt32.max
    /// Groups, each independent consumer's own among them.
    package var groups = UInt32(Limits.groupsPerTopicMax)
    /// Bytes of a record with its head.
    package var eventBytes = UInt32(Limits.eventBytesMax)

    package init() {}
}

extension Topic {
    func checkRoomForProducer() throws(Refusal) {
        let most = options.limits.producers
        guard producers >= Int(most) else { return }
        throw Refusal(.limit, "the topic's limit of producers is \(most); close one first")
    }

    func checkRoomForConsumer() throws(Refusal) {
        let most = options.limits.consumers
        guard consumers >= Int(most) else { return }
        throw Refusal(.limit, "the topic's limit of consumers is \(most); close one first")
    }

    func checkRoomForGroup() throws(Refusal) {
        let most = options.limits.groups
        guard liveGroups >= Int(most) else { return }
        throw Refusal(.limit, "the topic's limit of groups is \(most); remove one first")
    }

    /// Each may have the next event of a partition: all are looked at for it.
    static func checkRoomForOwner(_ member: MemberOptions, _ group: Group) throws(Refusal) {
        for claim in member.claims ?? []
        where group.lanes.claimants(of: Int(claim)).count >= Limits.partitionOwnersMax {
            let most = Limits.partitionOwnersMax
            throw Refusal(.limit, "\(most) members claim partition \(claim), its limit")
        }
    }

    /// All filters of a group may have to be asked for one event.
    static func checkRoomForFilter(_ member: MemberOptions, _ group: Group) throws(Refusal) {
        let parts = member.filter?.parts ?? 0
        let most = Limits.filterPartsPerGroupMax
        guard parts > 0, group.filterParts + parts > most else { return }
        let text = "the group's filters have \(group.filterParts) conditions of \(most) at most; "
        throw Refusal(.limit, text + "use simpler filters, or another group")
    }

    /// Whether some event may be too large for the topic.
    func mayHaveTooLarge(_ publication: Publication) -> Bool {
        publication.bytes > UInt64(options.limits.eventBytes)
    }

    /// Takes the events that are not too large for the topic, and refuses those that are.
    mutating func takeFitting(
        _ publication: Publication,
        from id: LinkID,
        limit: Int,
        into effects: inout Effects
    ) {
        var sequence = publication.firstSequence
        for run in [publication.run] + publication.more {
            for (part, fits) in run.parted(at: Int(options.limits.eventBytes)) {
                if fits {
                    let piece = Publication(
                        firstSequence: sequence,
                        events: UInt64(part.count),
                        bytes: UInt64(part.byteCount),
                        run: part,
                        time: publication.time
                    )
                    take(piece, from: id, limit: limit, into: &effects)
                } else {
                    counters.tooLarge += UInt64(part.count)
                    // What it was granted for is wanted still.
                    grantsAreDue = true
                    let refused = Effect.reject(
                        id,
                        from: sequence,
                        count: part.count,
                        .eventTooLarge
                    )
                    answer(id, refused, limit: limit, into: &effects)
                }
                sequence += UInt64(part.count)
            }
        }
    }
}

extension Run {
    /// The run in stretches whose records are all within so many bytes, or all above.
    fileprivate func parted(at bytes: Int) -> [(part: Run, fits: Bool)] {
        var parts: [(part: Run, fits: Bool)] = []
        var rest = self
        while rest.count > 0, let record = rest.first {
            rest = rest.rest(after: record)
            let fits = record.byteCount <= bytes
            if let last = parts.last, last.fits == fits {
                parts[parts.count - 1].part.extend(by: record)
            } else {
                parts.append((record, fits))
            }
        }
        return parts
    }
}
