"""What happens to a row on its way in and out, whichever way it goes; one file, or one package, a feature."""
