"""From a file or a DataFrame in any form to sound bars, or a message that says what is wrong."""
