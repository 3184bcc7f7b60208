// How the topics are called: by the prefix alone if there is one, else numbered.
#pragma once

enum { TOPIC_BYTES = 128 };

// Writes the name into `into`, TOPIC_BYTES long, and returns it.
const char *topicName(char *into, int index);
