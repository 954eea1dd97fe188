"""What every part of the project may import: the error shown to users, and files that appear whole or not at all."""
