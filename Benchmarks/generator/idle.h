// Connections that are greeted, and say nothing.
#pragma once

// Opens options.idle of them; they stay until the program ends.
void openIdle(void);
