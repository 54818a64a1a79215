"""Teach our streaming encoder from Moonshine tiny (MIT), an offline recogniser that has heard many people."""
